"""Runs that are killed: what goes on from there ends as a run that nobody disturbed.

    python benchmarks/resume.py [--kills 20] [--kills-per-root 5] [--seed N]        (`make accept-resume`)

Starts `mirante run digits`, kills it with its children (SIGKILL) at a moment of chance, starts the same
command again, and so on; then lets it end. Exits 1 unless each root then holds what an undisturbed run
leaves: the same shards and weights to the byte, the same metrics, one pushed version, no file more or less;
and a further run executes nothing. The first kills are spread over all phases, ingest and every node, the
others over the length of a run.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import queue
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import IO, Any

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.nodes import NODE_IDS

MIRANTE = Path(sys.executable).with_name("mirante")
RECIPE = (
    "digits",
    # Fewer epochs than the recipe has: kills are to hit other nodes than Trainer too.
    *("--set", "training.epochs=4"),
    *("--set", "evaluation.thresholds={accuracy: 0.5}"),
    # Not what is tried here: on a busy machine a model may take minutes to load.
    *("--set", "infra_validation.time_limit_secs=900"),
)
PHASES = ("ingest", *NODE_IDS)
EVENTS = "events.out.tfevents"
# A push takes a tenth of a second; what it makes below the root tells the moments in it.
PUSHER_MOMENTS = ("serving/.*.incomplete", "serving/[0-9]*")


@dataclasses.dataclass(frozen=True)
class Kill:
    """When to kill.

    Attributes:
        phase: One of `PHASES`.
        share: How much of the phase's usual time passes before, 0 .. 1.
        appears: Kill instead as soon as a file of this pattern is below the root.
    """

    phase: str
    share: float = 0.0
    appears: str | None = None

    def __str__(self) -> str:
        return f"{self.phase}, {self.appears or f'{self.share:.0%} of its time'}"


class Run:
    """`mirante run --json` in a process group of its own, and the phase that it is in."""

    def __init__(self, root: Path, temporary: Path):
        self.began = time.monotonic()
        self.entered = {PHASES[0]: self.began}
        self.said: list[str] = []
        self._process = subprocess.Popen(
            [str(MIRANTE), "run", *RECIPE, "--root", str(root), "--json"],
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
        """Whether the process is gone."""
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
            self.entered[NODE_IDS[0]] = moment
        elif match := re.match(r"  \[ ?(\d+)/\d+\]", line):
            number = int(match[1])
            self.entered[NODE_IDS[number] if number < len(NODE_IDS) else "end"] = moment

    def kill(self) -> None:
        """Ends the process and its children as a lack of memory or power would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        self.follow(0.01)

    def result(self) -> dict[str, Any]:
        """Waits for the end; the JSON that the run printed."""
        assert self._process.stdout is not None
        output = self._process.stdout.read()
        code = self._process.wait()
        self._reader.join()
        self.follow(0.01)
        if code != 0:
            raise RuntimeError(f"mirante run ended with {code}:\n{''.join(self.said)}")
        result: dict[str, Any] = json.loads(output.splitlines()[-1])
        return result

    def seconds(self) -> dict[str, float]:
        """How long each phase took, of a run that has ended; imports count to what follows them."""
        moments = [*self.entered.values()]
        return {
            phase: after - before
            for phase, before, after in zip(self.entered, moments, moments[1:], strict=False)
        }


def killed_run(root: Path, temporary: Path, kill: Kill, usual: dict[str, float]) -> str | None:
    """Starts the run and kills it.

    Returns:
        The phase that was hit; None where the run had ended before.
    """
    run = Run(root, temporary)
    while not run.has_ended:
        run.follow(0.0005 if kill.appears else 0.02)
        since = run.entered.get(kill.phase)
        if since is None:
            continue
        if kill.appears:
            if any(root.glob(kill.appears)):
                break
        # This run may be quicker than the usual one: at the latest in the next phase.
        elif time.monotonic() - since >= kill.share * usual[kill.phase] or run.phase != kill.phase:
            break
    run.kill()
    return run.phase if run.phase in PHASES else None


def plan(count: int, usual: dict[str, float], chance: random.Random) -> list[Kill]:
    """So many kills: each phase once as far as they go, the others anywhere in the length of a run."""
    each = [Kill(phase, chance.random()) for phase in PHASES[:-1]]
    each += [Kill("Pusher", appears=pattern) for pattern in PUSHER_MOMENTS]
    chance.shuffle(each)
    anywhere = chance.choices(list(usual), list(usual.values()), k=max(0, count - len(each)))
    return each[:count] + [Kill(phase, chance.random()) for phase in anywhere]


def moment_of(kill: Kill) -> tuple[int, float, str]:
    """Sorts kills by when they come in a run."""
    return PHASES.index(kill.phase), kill.share, kill.appears or ""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What runs under a root left.

    Attributes:
        shards: SHA-256 by name.
        weights: SHA-256 over the pushed model's variables.
        metrics: On the test split.
        files: Everything below the root and the folder of temporary files but histories (logs, runs,
            checkpoints, TensorBoard's files, one for each start); numbers in names, which count executions
            and seconds, are `#`.
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
        str(path)
        for path in left
        if path.parts[0] not in ("logs", "runs", "checkpoints") and not path.name.startswith(EVENTS)
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
    """What is not as it should be, a line each."""
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


def undisturbed_run(folder: Path) -> tuple[Outcome, dict[str, float]]:
    """What a run that nobody kills leaves, and the seconds of its phases."""
    root, temporary = _folders(folder)
    run = Run(root, temporary)
    result = run.result()
    return outcome(root, temporary, result), run.seconds()


def killed_and_completed(
    folder: Path, kills: list[Kill], undisturbed: Outcome, usual: dict[str, float]
) -> tuple[list[str | None], list[str]]:
    """Kills runs under one root, lets one end and looks at it.

    Returns:
        What each kill hit, and what is not as after an undisturbed run.
    """
    root, temporary = _folders(folder)
    hits = [killed_run(root, temporary, kill, usual) for kill in kills]
    result = Run(root, temporary).result()
    found = differences(undisturbed, outcome(root, temporary, result))
    again = Run(root, temporary).result()
    executed = [node for node, done in again["components"].items() if done["status"] != "cached"]
    if executed:
        found.append(f"executed once more by a further run: {', '.join(executed)}")
    if again["pushed_model"] != result["pushed_model"]:
        found.append(f"pushed {result['pushed_model']}, then {again['pushed_model']}")
    return hits, found


def _folders(folder: Path) -> tuple[Path, Path]:
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    return folder / "root", temporary


def main() -> int:
    """Kills and compares; prints what each kill hit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kills-per-root", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"resume: {options.kills} kills, seed {options.seed}", flush=True)
    chance = random.Random(options.seed)
    hit: Counter[str | None] = Counter()
    failures = 0
    with tempfile.TemporaryDirectory(prefix="mirante-resume-") as folder:
        undisturbed, usual = undisturbed_run(Path(folder) / "undisturbed")
        print("resume: undisturbed: " + ", ".join(f"{phase} {secs:.1f} s" for phase, secs in usual.items()))
        kills = plan(options.kills, usual, chance)
        for number, first in enumerate(range(0, len(kills), options.kills_per_root)):
            ordered = sorted(kills[first : first + options.kills_per_root], key=moment_of)
            hits, found = killed_and_completed(Path(folder) / str(number), ordered, undisturbed, usual)
            hit.update(hits)
            failures += len(found)
            for kill, phase in zip(ordered, hits, strict=True):
                print(f"resume: root {number}: meant for {kill}: killed {phase or 'nothing, it had ended'}")
            for line in found or ["as undisturbed"]:
                print(f"resume: root {number}: {line}", flush=True)
    print(f"resume: {sum(hit.values()) - hit[None]} kills: " + ", ".join(f"{p} {hit[p]}" for p in PHASES))
    return 1 if failures or hit[None] else 0


if __name__ == "__main__":
    sys.exit(main())
