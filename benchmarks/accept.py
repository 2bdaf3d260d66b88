"""Acceptance runs: one command, from raw files to a pushed model, compared with its bounds.

    python benchmarks/accept.py NAME        (`make accept-<name>`; the names are those of ACCEPTANCES below)

Prints one line per figure, with its bound, and exits with 1 if a figure misses it. MIRANTE_TEST_DATA names
the folder of the real image sets (default ../shared/data).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import operator
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("MIRANTE_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
MIRANTE = Path(sys.executable).with_name("mirante")
WEIGHTS = DATA / "weights" / "mobilenet_v2_1.0_224_dequantized_no_top.h5"


@dataclasses.dataclass(frozen=True)
class Acceptance:
    """A run and what it must reach; `max_training_secs` is of the Trainer, start and export included.

    `least` is what the metrics must be at least, by name; a number alone is the accuracy.
    """

    arguments: tuple[str, ...]
    least: float | dict[str, float]
    max_wall_secs: float
    max_memory_gib: float = 8.0
    max_training_secs: float | None = None


ACCEPTANCES = {
    "digits": Acceptance(("digits",), 0.97, 150),
    "mnist": Acceptance(("mnist", "--data", str(DATA / "mnist")), 0.992, 720, max_training_secs=240),
    "cats-vs-dogs": Acceptance(
        ("cats_vs_dogs", "--data", str(DATA / "cats_vs_dogs"), "--set", f"model.weights={WEIGHTS}"), 0.98, 600
    ),
    "cifar10": Acceptance(("cifar10", "--data", str(DATA / "cifar10" / "cifar-10-batches-py")), 0.72, 900),
    "cifar10-finetuned": Acceptance(
        (
            "cifar10_finetuned",
            "--data",
            str(DATA / "cifar10" / "cifar-10-batches-py"),
            "--set",
            f"model.weights={WEIGHTS}",
        ),
        0.78,
        1500,
    ),
    "butterflies": Acceptance(
        ("butterflies", "--data", str(DATA / "butterflies"), "--set", f"model.weights={WEIGHTS}"), 0.95, 600
    ),
    "asirra-detection": Acceptance(
        ("asirra_detection", "--data", str(DATA / "asirra_detection"), "--set", f"model.weights={WEIGHTS}"),
        {"map_50": 0.8, "map": 0.45},
        4500,
        max_training_secs=3600,
    ),
}


def _tree_memory_bytes(pid: int) -> int:
    """Resident memory of a process and all below it; shared pages count in each."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
    return total


def run(arguments: tuple[str, ...]) -> tuple[dict[str, Any], float, float, float]:
    """Runs `mirante run`: result, wall seconds, peak bytes, seconds to the first node without ingest."""
    began = time.monotonic()
    process = subprocess.Popen(
        [str(MIRANTE), "run", *arguments, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    peak = 0
    first_node_secs = float("nan")
    ingest_secs = 0.0
    ended = threading.Event()

    def watch_memory() -> None:
        nonlocal peak
        while not ended.wait(0.25):
            peak = max(peak, _tree_memory_bytes(process.pid))

    watcher = threading.Thread(target=watch_memory)
    watcher.start()
    assert process.stderr is not None
    assert process.stdout is not None
    for line in process.stderr:
        print(line, end="", flush=True)
        if line.startswith("  data ") and " ingested in " in line:
            ingest_secs = float(line.split(" ingested in ")[1].split()[0])
        if line.startswith("  [ 1/"):
            node_secs = float(line.split()[-2])
            first_node_secs = time.monotonic() - began - node_secs - ingest_secs
    output = process.stdout.read()
    process.wait()
    wall = time.monotonic() - began
    ended.set()
    watcher.join()
    return json.loads(output.splitlines()[-1]), wall, peak, first_node_secs


def help_secs() -> float:
    """Median wall seconds of `mirante --help` over seven runs."""
    seconds = []
    for _ in range(7):
        began = time.monotonic()
        subprocess.run([str(MIRANTE), "--help"], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


def main(name: str) -> int:
    """Runs one acceptance, its identical second run, and prints the figures."""
    if name not in ACCEPTANCES:
        print(f"no such acceptance: {name}; there are {', '.join(ACCEPTANCES)}", file=sys.stderr)
        return 2
    acceptance = ACCEPTANCES[name]
    missed = 0

    def figure(what: str, value: float, unit: str, holds: Callable[[float], bool], bound: str) -> None:
        nonlocal missed
        missed += not holds(value)
        print(f"{name}: {what:28}{value:10.4g} {unit:5}{bound:12}{'ok' if holds(value) else 'MISSED'}")

    with tempfile.TemporaryDirectory(prefix="mirante-accept-") as folder:
        arguments = (*acceptance.arguments, "--root", folder)
        result, wall, peak, first = run(arguments)
        again, wall_again, _, _ = run(arguments)
    least = acceptance.least if isinstance(acceptance.least, dict) else {"accuracy": acceptance.least}
    print()
    for metric, bound in least.items():
        reached = result["metrics"].get(metric, 0.0)
        figure(metric, reached, "", functools.partial(operator.le, bound), f">= {bound}")
    figure("wall time", wall, "s", lambda v: v <= acceptance.max_wall_secs, f"<= {acceptance.max_wall_secs}")
    if acceptance.max_training_secs is not None:
        most = acceptance.max_training_secs
        figure("training", result["components"]["Trainer"]["seconds"], "s", lambda v: v <= most, f"<= {most}")
    limit = acceptance.max_memory_gib
    figure("peak memory, all processes", peak / 2**30, "GiB", lambda v: v <= limit, f"<= {limit}")
    figure("first node, ingest apart", first, "s", lambda v: v <= 25, "<= 25")
    figure("mirante --help", help_secs(), "s", lambda v: v < 0.5, "< 0.5")
    figure("model pushed", bool(result["pushed_model"]), "", bool, "= 1")
    statuses = {outcome["status"] for outcome in again["components"].values()}
    figure("second run: nodes executed", statuses != {"cached"}, "", lambda v: v == 0, "= 0")
    figure("second run: same model", again["pushed_model"] == result["pushed_model"], "", bool, "= 1")
    print(f"{name}: second run took {wall_again:.1f} s")
    for node, outcome in result["components"].items():
        print(f"{name}:   {node:24}{outcome['seconds']:8.1f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) == 2 else ""))
