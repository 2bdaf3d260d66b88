"""How much memory a run needs as its data grow: peaks of the ingest and of every node.

    python -m benchmarks.memory 10000 100000 [--px 32] [--limit-mib 1600] [--folder DIR] [--set KEY=VALUE]...
    python -m benchmarks.memory 1000000 --ingest-only --no-near-copies

Makes IDX files of noise, which no encoding makes smaller, ingests them with `mirante ingest`, runs the recipe
`mnist` of one epoch on the records, and prints the most memory that one process held in each part. With
`--limit-mib` all of it runs in a memory cgroup (version 1, as root) of this size: with less than the records'
bytes, a part that holds all of them is killed. Noise is the worst case of `near_copies`: the looks of all
images are about equally bright, so each is compared with each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.table import Row, note_row

MIRANTE = Path(sys.executable).with_name("mirante")
MEMORY_CGROUPS = Path("/sys/fs/cgroup/memory")
CLASSES = 10
# Goal for the growth of a part's cost with the number of images.
MAX_EXPONENT = 1.05
_CHUNK = 1000
_MIB = 1 << 20


def write_idx(folder: Path, count: int, px: int) -> None:
    """Write noise with labels, a tenth of it as the test split. A bright stripe tells the class."""
    random = np.random.default_rng(count)
    for part, images in (("train", count - count // 10), ("t10k", count // 10)):
        labels = random.integers(0, CLASSES, images, np.uint8)
        with (folder / f"{part}-labels-idx1-ubyte").open("wb") as file:
            file.write(struct.pack(">II", 0x801, images) + labels.tobytes())
        with (folder / f"{part}-images-idx3-ubyte").open("wb") as file:
            file.write(struct.pack(">IIII", 0x803, images, px, px))
            for start in range(0, images, _CHUNK):
                chunk = labels[start : start + _CHUNK]
                pixels = random.integers(0, 128, (len(chunk), px, px), np.uint8)
                stripe = np.arange(px) * CLASSES // px == chunk[:, None]
                file.write((pixels + np.uint8(127) * stripe[:, :, None]).tobytes())


@contextlib.contextmanager
def limited(mib: int | None) -> Iterator[list[str]]:
    """Yield the beginning of a command that runs in a cgroup of this size."""
    if mib is None:
        yield []
        return
    group = MEMORY_CGROUPS / f"mirante-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(mib * _MIB))
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "limited"]
    finally:
        group.rmdir()


def run(command: Sequence[str]) -> tuple[float, int, str]:
    """Run a command; return its seconds of CPU, the most bytes that a process of it held, and its output.

    Raises:
        SystemExit: It failed.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)  # of this process and its own children alone
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 4):  # a model that is not good enough is one, too
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{output[-2000:]}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, output


def measure(given: argparse.Namespace, count: int, folder: Path) -> dict[str, Any]:
    """Ingest and run made images; return the parts with their MiB and seconds."""
    px = given.px
    raw, data, root = (folder / name for name in ("raw", "data", "root"))
    raw.mkdir(parents=True)
    write_idx(raw, count, px)
    found: dict[str, Any] = {}
    with limited(given.limit_mib) as prefix:
        options = [] if given.near_copies else ["--no-near-copies"]
        secs, peak, _ = run([*prefix, str(MIRANTE), "ingest", "idx", str(raw), str(data), *options])
        found["ingest"] = peak / _MIB, secs
        found["records"] = sum(path.stat().st_size for path in data.glob("*-of-*")) / _MIB, 0.0
        if given.ingest_only:
            return found
        settings = [f"transform.height_px={min(px, 32)}", f"transform.width_px={min(px, 32)}"]
        settings += ["training.epochs=1", "evaluation.thresholds={accuracy: 0.2}", *given.overrides]
        words = [word for setting in settings for word in ("--set", setting)]
        command = [str(MIRANTE), "run", "mnist", "--data", str(data), "--root", str(root), "--json", *words]
        began = time.monotonic()
        secs, _, output = run([*prefix, *command])
        found["whole run"] = (time.monotonic() - began) / 60, secs
    for node, outcome in json.loads(output.splitlines()[-1])["components"].items():
        if outcome["peak_memory_bytes"]:
            found[node] = outcome["peak_memory_bytes"] / _MIB, outcome["seconds"]
    return found


def fit_exponent(counts: Sequence[int], costs: Sequence[float]) -> float:
    """Return e of costs that grow like counts ** e, fitted by least squares of their logarithms; else NaN."""
    if len(set(counts)) < 2 or min(costs, default=0) <= 0:
        return math.nan
    exponent, _ = np.polyfit(np.log(counts), np.log(costs), 1)
    return float(exponent)


def note_growth(found: dict[int, dict[str, Any]]) -> None:
    """Note how each part's time and memory grow with the number of images."""
    counts = list(found)
    shown = " to ".join(f"{count:,}" for count in counts)
    for part in found[counts[-1]]:
        if part == "records" or any(part not in of_count for of_count in found.values()):
            continue
        for place, cost in ((1, "time"), (0, "memory")):
            if part == "whole run" and cost == "memory":
                continue
            costs = [found[count][part][place] for count in counts]
            unit = "s" if cost == "time" else "MiB"
            exponent = fit_exponent(counts, costs)
            what = (
                f"{part}, {cost} of {shown} images ({' to '.join(f'{each:,.1f}' for each in costs)} {unit})"
            )
            note_row(Row(what, "exponent", [exponent], limit=MAX_EXPONENT))


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("counts", type=int, nargs="+")
    parser.add_argument("--px", type=int, default=32)
    parser.add_argument("--limit-mib", type=int)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--ingest-only", action="store_true", help="run no nodes")
    parser.add_argument("--no-near-copies", action="store_false", dest="near_copies")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    given = parser.parse_args(argv)
    all_found: dict[int, dict[str, Any]] = {}
    for count in given.counts:
        with tempfile.TemporaryDirectory(prefix="mirante-memory-", dir=given.folder) as folder:
            all_found[count] = found = measure(given, count, Path(folder))
        print(f"{count:,} images of {given.px} px; limit {given.limit_mib or 'none'} MiB")
        for part, (mib, secs) in found.items():
            unit = "min wall" if part == "whole run" else "MiB"
            print(f"  {part:24} {mib:8.1f} {unit:8} {secs:8.1f} s", flush=True)
    if len(all_found) > 1:
        note_growth(all_found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
