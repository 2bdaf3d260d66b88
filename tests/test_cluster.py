"""Training on several machines, here two processes of one: through the commands, also when a worker dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.test_strategy import cluster

pytestmark = pytest.mark.slow
MIRANTE = str(Path(sys.executable).with_name("mirante"))
# Long enough to be killed in the middle of it.
SETTINGS = (
    "training.epochs=40",
    "training.patience_epochs=null",
    "training.checkpoints={steps: 20, min_secs: 0}",
)


class Command:
    """A `mirante` command in the background, its output in a file."""

    def __init__(self, name: str, folder: Path, tf_config: str, *arguments: str):
        self.log = folder / f"{name}.log"
        self._file = open(self.log, "w", encoding="utf-8")  # noqa: SIM115 - goes with the test
        self.process = subprocess.Popen(
            [MIRANTE, *arguments],
            env={**os.environ, "TF_CONFIG": tf_config},
            cwd=folder,
            stdout=self._file,
            stderr=subprocess.STDOUT,
        )

    def wait_for(self, words: str, secs: float) -> None:
        until = time.monotonic() + secs
        while words not in self.text:
            assert self.process.poll() is None, self.text[-3000:]
            assert time.monotonic() < until, f"{words!r} was not said:\n{self.text[-3000:]}"
            time.sleep(0.1)

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")


def start(folder: Path) -> tuple[Command, Command]:
    chief, other = cluster(2)
    settings = [argument for setting in SETTINGS for argument in ("--set", setting)]
    return (
        Command("chief", folder, chief, "run", "digits", "--root", "root", *settings, "--json"),
        Command("worker", folder, other, "worker", "root"),
    )


def test_a_worker_is_lost_and_training_goes_on_after_a_restart(tmp_path: Path) -> None:
    chief, worker = start(tmp_path)
    chief.wait_for("training epoch 3/40", secs=240)
    # The command, and the process that trains.
    for process in [*psutil.Process(worker.process.pid).children(recursive=True), worker.process]:
        process.send_signal(signal.SIGKILL)
    lost = time.monotonic()
    assert chief.process.wait(timeout=120) == 1
    assert time.monotonic() - lost < 60
    assert "was lost" in chief.text
    assert "training goes on from its last checkpoint" in chief.text
    assert not list((tmp_path / "root").glob("serving/*"))

    chief, worker = start(tmp_path)
    assert chief.process.wait(timeout=300) == 0, chief.text[-3000:]
    assert worker.process.wait(timeout=60) == 0, worker.text[-3000:]
    assert "training goes on at step" in chief.text
    result = json.loads(chief.text.splitlines()[-1])
    assert result["metrics"]["accuracy"] > 0.95
    assert "multi_worker (chosen by auto), 2 CPUs on 2 machines" in chief.text
    # The chief alone writes.
    assert len(list((tmp_path / "root" / "serving").iterdir())) == 1
    assert not (tmp_path / "root" / "cluster.json").exists()


def test_a_worker_needs_a_cluster(tmp_path: Path) -> None:
    done = subprocess.run(
        [MIRANTE, "worker", "root"],
        env={name: value for name, value in os.environ.items() if name != "TF_CONFIG"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "TF_CONFIG names no cluster" in done.stderr


def test_what_else_goes_wrong_is_told_as_it_is(tmp_path: Path) -> None:
    # A job that is none: no fault of another machine.
    (tmp_path / "cluster.json").write_text('{"id": "1", "job": {}}', encoding="utf-8")
    done = subprocess.run(
        [MIRANTE, "worker", str(tmp_path)],
        env={**os.environ, "TF_CONFIG": cluster(2)[1]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "mirante: TypeError: " in done.stderr
    assert "was lost" not in done.stderr
