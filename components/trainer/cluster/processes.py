"""Training on several machines: each process of TF_CONFIG's cluster does its part of one job.

The chief is the process that runs the pipeline. `mirante worker ROOT` starts the others, which read the job
from a file below the root that all machines see. TensorFlow sets up a cluster only in a process that has not
used TensorFlow before, so each of them trains in a fresh process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from components.base import errors, files
from components.base.errors import MiranteError
from components.base.words import quote
from components.trainer.cluster.pods.pods import worker_pods
from components.trainer.strategy import read_cluster

if TYPE_CHECKING:
    from components.trainer.cluster.pods.config import WorkerPodsConfig
    from components.trainer.job import Job

logger = logging.getLogger("mirante.trainer")

JOB_FILE = "cluster.json"
_POLL_SECS = 1.0
# Given to our processes to end after a request.
_STOP_SECS = 10.0
# What the others get when a process or the network between them fails.
_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


def run_as_chief(job: Job) -> None:
    """Train with the cluster of TF_CONFIG.

    Raises:
        MiranteError: A worker was lost, or training failed.
    """
    path = _job_path(job)
    tasks = read_cluster()
    logger.info(
        "cluster: %d processes, %s; each of the others: TF_CONFIG=... %s",
        len(tasks),
        ", ".join(tasks),
        quote("mirante", "worker", os.path.dirname(path)),
    )
    files.write_text(path, json.dumps({"id": uuid.uuid4().hex, "job": dataclasses.asdict(job)}))
    try:
        with contextlib.closing(_Process(path)) as process:
            process.wait()
    finally:
        _remove(path)


def run_with_worker_pods(job: Job, config: WorkerPodsConfig) -> None:
    """Train as the chief of worker pods, which are started first and stopped afterwards.

    Raises:
        MiranteError: They cannot be started, one was lost, or training failed.
    """
    path = _job_path(job)
    # A killed chief leaves its job behind, and the workers would start with it.
    _remove(path)
    with worker_pods(config, os.path.dirname(path)):
        run_as_chief(job)


def run_as_worker(root: str, wait_secs: float = math.inf) -> None:
    """Wait for the chief's job under `root`, take part in it, and return when it is done.

    Raises:
        MiranteError: A worker or the chief was lost, or training failed, or there was no job for `wait_secs`.
    """
    path = os.path.join(root, JOB_FILE)
    logger.info("waiting for the chief to come to its Trainer (%s)", path)
    until = time.monotonic() + wait_secs
    while True:
        while not (current := _read(path)):
            if time.monotonic() > until:
                raise MiranteError(
                    f"the chief has not begun to train within {wait_secs:.0f} s: there is no {path}. Was it "
                    "lost, or does it have another root?"
                )
            time.sleep(_POLL_SECS)
        with contextlib.closing(_Process(path)) as process:
            while process.is_running():
                time.sleep(_POLL_SECS)
                # A killed chief leaves its job behind, and starts with another one.
                if (now := _read(path)) and now != current:
                    break
            else:
                process.wait()
                return


def _job_path(job: Job) -> str:
    return os.path.join(os.path.dirname(job.custom_config["checkpoints"]), JOB_FILE)


def _read(path: str) -> str | None:
    try:
        with tf.io.gfile.GFile(path) as file:
            return str(file.read())
    except tf.errors.NotFoundError:
        return None


def _remove(path: str) -> None:
    with contextlib.suppress(tf.errors.NotFoundError):
        tf.io.gfile.remove(path)


# Like `-m`, but without the folder that the command runs in, which may hold another package `components`.
# What a user's packages of our names hold besides is found, such as a custom network.
_CHILD = (
    "import runpy, sys; sys.path[:] = [entry for entry in sys.path if entry]; "
    "import mirante_command; mirante_command.prefer_own_packages(); "
    "runpy.run_module('components.trainer.cluster.processes', run_name='__main__', alter_sys=True)"
)


class _Process:
    """A fresh process that trains; its log is passed on. Closing it ends the process."""

    def __init__(self, path: str):
        self._popen = subprocess.Popen(
            [sys.executable, "-c", _CHILD, path],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        )
        self._error: dict[str, str] | None = None
        self._relay = threading.Thread(target=self._pass_on, daemon=True)
        self._relay.start()

    def _pass_on(self) -> None:
        for line in self._popen.stdout or ():
            message = _parse(line)
            if "error" in message:
                self._error = message
            else:
                logger.info("%s", message["log"])

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def wait(self) -> None:
        """Wait until the training is done.

        Raises:
            MiranteError: It failed.
        """
        code = self._popen.wait()
        self._relay.join()
        if self._error:
            raise getattr(errors, self._error["type"], MiranteError)(self._error["error"])
        if code != 0:
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise MiranteError(
                f"the training process of this machine ended with {how}: another process of the cluster "
                f"({', '.join(read_cluster())}) was lost, or memory ran out. {_AGAIN}"
            )

    def close(self) -> None:
        if self.is_running():
            self._popen.send_signal(signal.SIGTERM)
            try:
                self._popen.wait(_STOP_SECS)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        self._relay.join()


_AGAIN = (
    "Start the run and its workers again: training resumes from its last checkpoint. TensorFlow's "
    "messages are in the log"
)


def _parse(line: str) -> dict[str, str]:
    try:
        message: Any = json.loads(line)
    except ValueError:
        return {"log": line.rstrip()}
    return message if isinstance(message, dict) else {"log": line.rstrip()}


class _TellHandler(logging.Handler):
    """Log records as lines of JSON on standard output."""

    def emit(self, record: logging.LogRecord) -> None:
        print(json.dumps({"log": record.getMessage()}), flush=True)


def _main(path: str) -> int:
    """Train a job in the fresh process; return the exit code."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    logger.addHandler(_TellHandler())
    # Libraries give the root logger a handler, which would write each line once more.
    logger.propagate = False
    logger.setLevel(logging.INFO)
    try:
        from components.trainer.config import TrainingConfig
        from components.trainer.job import Job
        from components.trainer.train import run_job

        job = Job(**json.loads(_read(path) or "{}")["job"])
        run_job(job, TrainingConfig.model_validate(job.custom_config["training"]))
    except MiranteError as e:
        print(json.dumps({"error": str(e), "type": type(e).__name__}), flush=True)
        return e.exit_code
    except _LOST as e:
        first = str(e.message).strip().splitlines()[0] if e.message else type(e).__name__
        message = (
            f"another process of the cluster ({', '.join(read_cluster())}) was lost, or the network between "
            f"them ({type(e).__name__}: {first[:200]}). {_AGAIN}"
        )
        print(json.dumps({"error": message, "type": "MiranteError"}), flush=True)
        logging.getLogger().exception("training failed")
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as e:
        print(json.dumps({"error": f"{type(e).__name__}: {e}", "type": "MiranteError"}), flush=True)
        logging.getLogger().exception("training failed")
        return 1
    return 0


if __name__ == "__main__":
    # Not by sys.exit: TensorFlow's threads of a broken cluster may wait for each other for ever.
    code = _main(sys.argv[1])
    sys.stdout.flush()
    os._exit(code)
