"""InfraValidator: whether the exported model loads and answers in a process of its own.

TFX's InfraValidator needs a TF Serving image and Docker or Kubernetes. This one needs a Python process, and
gives the same InfraBlessing to Pusher.
"""

# No `from __future__ import annotations`: TFX reads the annotations of a component function as types.
import json
import os
import signal
import subprocess
import sys
import tempfile
from typing import Any

import tensorflow as tf
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils, path_utils

from components import infra_probe
from components.errors import DataRefusedError, MiranteError
from components.records import record_dataset
from schemas import features

REPORT = "report.json"


def _write_sample(examples: standard_artifacts.Examples, count: int, path: str) -> None:
    folder = artifact_utils.get_split_uri([examples], features.TEST)
    dataset = record_dataset(tf.io.gfile.glob(io_utils.all_files_pattern(folder)))
    records = [record.numpy() for record in dataset.take(count)]
    if not records:
        raise DataRefusedError("the test split has no examples to send to the model")
    with tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record)


def validate(model_dir: str, records_file: str, time_limit_secs: int) -> dict[str, Any]:
    """Runs `infra_probe` on the model; its report, with what went wrong under `problems`."""
    # -I: neither this package's folder nor the environment decides what the probe imports.
    command = [sys.executable, "-I", infra_probe.__file__, model_dir, records_file]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=time_limit_secs, check=False
        )
    except subprocess.TimeoutExpired:
        limit = f"{time_limit_secs} s (infra_validation.time_limit_secs)"
        return {"problems": [f"the model did not load and answer within {limit}"]}
    if done.returncode == -signal.SIGKILL:
        # Nothing that the model did: a verdict would be kept for every later run.
        raise MiranteError("the process that loads the model was killed; is memory short? Run again")
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return {"problems": [f"the process that loads the model ended with {done.returncode}: {last[0]}"]}
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


@component
def InfraValidator(  # noqa: N802 - components are named like classes
    model: InputArtifact[standard_artifacts.Model],
    examples: InputArtifact[standard_artifacts.Examples],
    blessing: OutputArtifact[standard_artifacts.InfraBlessing],
    images: Parameter[int],
    time_limit_secs: Parameter[int],
) -> None:
    """Sends `images` real images of the test split through every signature within `time_limit_secs`.

    The blessing's folder holds `report.json` (see `infra_probe`), its property `blessed` tells Pusher.
    """
    with tempfile.TemporaryDirectory() as folder:
        records_file = os.path.join(folder, "sample.tfrecord")
        _write_sample(examples, images, records_file)
        report = validate(path_utils.serving_model_path(model.uri), records_file, time_limit_secs)
    blessing.set_int_custom_property("blessed", 0 if report["problems"] else 1)
    io_utils.write_string_file(os.path.join(blessing.uri, REPORT), json.dumps(report, indent=2))
