"""Runs of the digits recipe that are disturbed, and what they leave: used by resume.py."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.steps import node_ids
from tests.small_disk import SmallDisk

MIRANTE = Path(sys.executable).with_name("mirante")
RECIPE = (
    "digits",
    # Fewer epochs than the recipe has: kills are to hit other nodes than Trainer too.
    *("--set", "training.epochs=4"),
    *("--set", "evaluation.thresholds={accuracy: 0.5}"),
    # Not what is tried here: on a busy machine a model may take minutes to load.
    *("--set", "infra_validation.time_limit_secs=900"),
)
PHASES = ("ingest", *node_ids())
EVENTS = "events.out.tfevents"
# Histories; and a memory of digests that is written once the files are some seconds old.
NOT_COMPARED = ("logs", "runs", "checkpoints", "digests.json")


class Run:
    """`mirante run --json` in a process group of its own, and the phase that it is in.

    Args:
        root: The pipeline root.
        temporary: The folder of temporary files.
        settings: Overrides of the recipe.
        disk: The small file system that the root is on, if it is on one.
    """

    def __init__(
        self, root: Path, temporary: Path, settings: Sequence[str] = (), disk: SmallDisk | None = None
    ):
        self.began = time.monotonic()
        self.entered = {PHASES[0]: self.began}
        self.said: list[str] = []
        overrides = [word for setting in settings for word in ("--set", setting)]
        command = [str(MIRANTE), "run", *RECIPE, *overrides, "--root", str(root), "--json"]
        self._process = subprocess.Popen(
            command if disk is None else disk.command(command, Path.cwd()),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
        self._lines: queue.Queue[tuple[float, str]] = queue.Queue()
        assert self._process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stderr,))
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put((time.monotonic(), line))

    @property
    def phase(self) -> str:
        """The last phase that was entered."""
        return next(reversed(self.entered))

    @property
    def has_ended(self) -> bool:
        """Return whether the process has ended."""
        return self._process.poll() is not None

    def follow(self, secs: float) -> None:
        """Takes in what the run says for so long."""
        with contextlib.suppress(queue.Empty):
            while True:
                moment, line = self._lines.get(timeout=secs)
                self.said.append(line)
                self._enter(moment, line)

    def _enter(self, moment: float, line: str) -> None:
        if line.startswith("  will run "):
            self.entered[node_ids()[0]] = moment
        elif match := re.match(r"  \[ ?(\d+)/\d+\]", line):
            number = int(match[1])
            self.entered[node_ids()[number] if number < len(node_ids()) else "end"] = moment

    def kill(self) -> None:
        """Ends the process and its children as a lack of memory or power would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        self.follow(0.01)

    def result(self, expected: int = 0) -> dict[str, Any]:
        """Waits for the end, with this exit code; the JSON that the run printed."""
        assert self._process.stdout is not None
        output = self._process.stdout.read()
        code = self._process.wait()
        self._reader.join()
        self.follow(0.01)
        if code != expected:
            raise RuntimeError(f"mirante run ended with {code}, expected {expected}:\n{''.join(self.said)}")
        result: dict[str, Any] = json.loads(output.splitlines()[-1])
        return result

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each phase of a run that has ended; imports count to the next phase."""
        moments = [*self.entered.values()]
        return {
            phase: after - before
            for phase, before, after in zip(self.entered, moments, moments[1:], strict=False)
        }


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The results that runs leave in a root.

    Attributes:
        shards: SHA-256 by name.
        weights: SHA-256 over the pushed model's variables.
        metrics: On the test split.
        files: Everything below the root and the folder of temporary files but `NOT_COMPARED` and the files of
            TensorBoard, one for each start; numbers in names, which count executions and seconds, are `#`.
        unfinished: Executions that ML Metadata holds for running.
    """

    shards: dict[str, str]
    weights: str
    metrics: dict[str, float]
    files: Counter[str]
    unfinished: int

    @property
    def versions(self) -> int:
        """Pushed models."""
        return self.files["serving/#"]


def weights_digest(root: Path) -> str:
    """SHA-256 over the names and bytes of the variables of the model that was pushed last."""
    import tensorflow as tf

    versions = sorted((root / "serving").glob("[0-9]*"), key=lambda version: int(version.name))
    reader = tf.train.load_checkpoint(str(versions[-1] / "variables" / "variables"))
    digest = hashlib.sha256()
    for key in sorted(reader.get_variable_to_shape_map()):
        if key.startswith("weights/"):
            digest.update(key.encode() + reader.get_tensor(key).tobytes())
    return digest.hexdigest()


def outcome(root: Path, temporary: Path, result: dict[str, Any]) -> Outcome:
    """Looks at what a run that has ended left."""
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(root / "metadata.sqlite")
    executions = metadata_store.MetadataStore(config).get_executions()
    left = [path.relative_to(root) for path in root.rglob("*")]
    names = [
        str(path) for path in left if path.parts[0] not in NOT_COMPARED and not path.name.startswith(EVENTS)
    ]
    names += [f"temporary: {path.name}" for path in temporary.iterdir()]
    return Outcome(
        shards={
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((root / "data").glob("*-of-*"))
        },
        weights=weights_digest(root),
        metrics=result["metrics"],
        files=Counter(re.sub(r"\d+", "#", name) for name in names),
        unfinished=sum(e.last_known_state == metadata_store_pb2.Execution.RUNNING for e in executions),
    )


def differences(undisturbed: Outcome, disturbed: Outcome) -> list[str]:
    """Return a line for each difference from the undisturbed run."""
    found = []
    if disturbed.shards != undisturbed.shards:
        found.append(f"shards: {disturbed.shards}, undisturbed {undisturbed.shards}")
    if disturbed.weights != undisturbed.weights:
        found.append(f"weights: {disturbed.weights}, undisturbed {undisturbed.weights}")
    # Beam cuts the test split into batches by the time that they take, and sums of float32 follow.
    if {name: round(value, 6) for name, value in disturbed.metrics.items()} != {
        name: round(value, 6) for name, value in undisturbed.metrics.items()
    }:
        found.append(f"metrics: {disturbed.metrics}, undisturbed {undisturbed.metrics}")
    if disturbed.versions != 1:
        found.append(f"{disturbed.versions} pushed versions")
    if disturbed.unfinished:
        found.append(f"{disturbed.unfinished} executions are left as running")
    found += [f"left behind: {name}" for name in sorted((disturbed.files - undisturbed.files).elements())]
    found += [f"missing: {name}" for name in sorted((undisturbed.files - disturbed.files).elements())]
    return found


def find_executed(result: dict[str, Any], again: dict[str, Any]) -> list[str]:
    """Return a line for everything that a further run did; it should do nothing."""
    found = []
    executed = [node for node, done in again["components"].items() if done["status"] != "cached"]
    if executed:
        found.append(f"executed once more by a further run: {', '.join(executed)}")
    if again["pushed_model"] != result["pushed_model"]:
        found.append(f"pushed {result['pushed_model']}, then {again['pushed_model']}")
    return found


# Exit code, overrides, and the node at which the disk is full.
SETBACKS: tuple[tuple[int, tuple[str, ...], str | None], ...] = (
    (1, (), "StatisticsGen"),
    (1, (), "Transform"),
    (3, ("data.min_test_images=1000",), None),
    (1, (), "Trainer"),
    (4, ("infra_validation.time_limit_secs=1",), None),
    (4, ("infra_validation.time_limit_secs=1",), None),
    (1, (), "InfraValidator"),
)


def set_back_and_completed(folder: Path, undisturbed: Outcome) -> list[str]:
    """Lets runs under one root fail in the ways of `SETBACKS`, lets one end and looks at it.

    Returns:
        What is not as after an undisturbed run.
    """
    with SmallDisk(folder / "disk", size_mib=200) as disk:
        seen, temporary = folder / "disk" / "root", folder / "tmp"
        temporary.mkdir()
        for code, settings, full_at in SETBACKS:
            run = Run(seen, temporary, settings, disk)
            if full_at is not None:
                while not run.has_ended and full_at not in run.entered:
                    run.follow(0.01)
                with contextlib.suppress(OSError):  # the run writes meanwhile
                    disk.fill(leave_kib=0)
            error = run.result(code)["error"]
            print(f"resume: {full_at or ', '.join(settings)}: exit {code}: {error}", flush=True)
            if full_at is not None:
                disk.make_room()
        result = Run(seen, temporary, disk=disk).result()
        # SQLite opens no file by its path from outside.
        shutil.copytree(disk.inside / "root", folder / "root", symlinks=True)
        found = differences(undisturbed, outcome(folder / "root", temporary, result))
        again = Run(seen, temporary, disk=disk).result()
    # Executions that failed or refused the model leave files.
    return [line for line in found if not line.startswith("left behind: ")] + find_executed(result, again)
