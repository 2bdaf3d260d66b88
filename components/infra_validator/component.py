"""InfraValidator: blesses a model that loads and answers in a process of its own.

TFX's InfraValidator needs a TF Serving image and Docker or Kubernetes. This one needs a Python process only,
and gives the Pusher the same InfraBlessing.
"""

# No `from __future__ import annotations`: TFX reads the annotations of a component function as types.
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import tensorflow as tf
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils, path_utils

from components.base.errors import DataRefusedError, MiranteError
from components.base.records import list_files, record_dataset
from components.base.saved_model import LABELS_FILE, WARM_UP_FILE, task_of
from components.base.task import part
from components.infra_validator import probe
from schemas import features

REPORT = "report.json"
# Loading and asking a model takes about as long as importing TensorFlow; both are slow on a busy machine.
_STARTS = 20
_LEAST_SECS = 120
_START_SECS = 1800


def _write_sample(examples: standard_artifacts.Examples, count: int, path: str) -> None:
    folder = artifact_utils.get_split_uri([examples], features.TEST)
    dataset = record_dataset(list_files(folder))
    records = [record.numpy() for record in dataset.take(count)]
    if not records:
        raise DataRefusedError("the test split has no examples to send to the model")
    with tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record)


def validate(model_dir: str, records_file: str, time_limit_secs: int | None = None) -> dict[str, Any]:
    """Run `probe` on the model.

    Args:
        model_dir: The SavedModel.
        records_file: The images that it is sent.
        time_limit_secs: For the whole process. None for a limit that follows the machine and begins when
            the process has imported TensorFlow.

    Returns:
        The probe's report; `problems` says what went wrong.

    Raises:
        MiranteError: The process was killed, or did not start: that says nothing about the model, and a
            verdict would be kept for all later runs.
    """
    answers = part(task_of(model_dir), "answers").__file__
    assert answers is not None
    # -I: neither this package's folder nor the environment decides what the probe imports.
    given = [model_dir, *(os.path.join(model_dir, name) for name in (LABELS_FILE, WARM_UP_FILE))]
    command = [sys.executable, "-I", probe.__file__, *given, records_file, answers]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace"
        )
        assert process.stdout is not None
        try:
            with process.stdout, _Killer(process) as killer:
                killer.kill_after(time_limit_secs or _START_SECS)
                first = process.stdout.readline().strip()
                limit_secs = time_limit_secs
                if time_limit_secs is None and first == probe.READY:
                    limit_secs = math.ceil(max(_LEAST_SECS, _STARTS * (time.monotonic() - began)))
                    killer.kill_after(limit_secs)
                lines = process.stdout.read().splitlines()
                process.wait()
        finally:
            process.kill()
            process.wait()
        errors.seek(0)
        last = errors.read().strip().splitlines()[-1:] or ["no message"]
    if killer.killed:
        return {"problems": [_describe_timeout(time_limit_secs, limit_secs)]}
    if process.returncode == -signal.SIGKILL:
        raise MiranteError("the process that loads the model was killed; is memory short? Run again")
    if process.returncode != 0:
        return {"problems": [f"the process that loads the model ended with {process.returncode}: {last[0]}"]}
    report: dict[str, Any] = json.loads(lines[-1])
    return report


class _Killer:
    """Kills a process when its time is up; `killed` says whether it has."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process
        self._timer: threading.Timer | None = None
        self.killed = False

    def __enter__(self) -> "_Killer":
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def kill_after(self, secs: float) -> None:
        """Restart the time."""
        self.__exit__()
        self._timer = threading.Timer(secs, self._kill)
        self._timer.daemon = True
        self._timer.start()

    def _kill(self) -> None:
        if self._process.poll() is None:
            self.killed = True
            self._process.kill()


def _describe_timeout(given_secs: int | None, limit_secs: int | None) -> str:
    """Describe a timeout.

    Raises:
        MiranteError: TensorFlow was not imported in time.
    """
    if limit_secs is None:
        raise MiranteError(
            f"the process that loads the model did not start within {_START_SECS} s; is the machine "
            "overloaded? Run again"
        )
    setting = "infra_validation.time_limit_secs"
    if given_secs is not None:
        return f"the model did not load and answer within {given_secs} s ({setting})"
    return (
        f"the model did not load and answer within {limit_secs} s, a limit that follows how long TensorFlow "
        f"took to start; {setting} sets another one"
    )


@component
def InfraValidator(  # noqa: N802 - components are named like classes
    model: InputArtifact[standard_artifacts.Model],
    examples: InputArtifact[standard_artifacts.Examples],
    blessing: OutputArtifact[standard_artifacts.InfraBlessing],
    images: Parameter[int],
    time_limit_secs: Parameter[int],
) -> None:
    """Send images of the test split through every signature.

    Args:
        model: The candidate.
        examples: Of which the test split is used.
        blessing: Its folder has `report.json` (see `probe`); the Pusher reads its property `blessed`.
        images: The number of images to send.
        time_limit_secs: The limit for the process; 0 for one that follows the machine.
    """
    with tempfile.TemporaryDirectory() as folder:
        records_file = os.path.join(folder, "sample.tfrecord")
        _write_sample(examples, images, records_file)
        report = validate(path_utils.serving_model_path(model.uri), records_file, time_limit_secs or None)
    blessing.set_int_custom_property("blessed", 0 if report["problems"] else 1)
    io_utils.write_string_file(os.path.join(blessing.uri, REPORT), json.dumps(report, indent=2))
