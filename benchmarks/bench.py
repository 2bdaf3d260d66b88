"""All benchmarks, one after the other, in one table: Mirante, what it is compared with, and the goal.

    python -m benchmarks.bench [PART]... [--quick] [--out DIR] [--into PAGE]     (`make bench`, `QUICK=1`)

Each part is a program of this folder that runs its sides in turn and notes its rows (benchmarks/table.py).
A part that fails, or notes nothing, is a row too. `bench.json` and `bench.md` in DIR keep what was measured
before of parts that do not run now, with its day and the load of the machine when it began. `--into` writes
the table into a page, between its two marks. Exits 1 where a goal is missed or a part fails.

Needs the real image sets: MIRANTE_TEST_DATA (default ../shared/data). Peers are in a folder of their own
(`make bench-peers`, MIRANTE_BENCH_PEERS); without it their rows say that they are not installed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.table import FAILED, MISSED, ROWS_VARIABLE, Row, describe_row, format_table, read_rows
from components.base.memory import measure_memory
from components.base.versions import find_commit, find_versions
from components.base.words import quote

REPOSITORY = Path(__file__).resolve().parents[1]
_MARKS = "<!-- The table below is written by `make bench`. -->", "<!-- End of that table. -->"
# Of a part; of all parts of a quick look together.
_LIMIT_SECS = 3600
_QUICK_SECS = 570


@dataclasses.dataclass(frozen=True)
class Part:
    """A program of this folder.

    Attributes:
        module: Its name below `benchmarks`.
        words: What it is given.
        quick: What it is given instead for a quick look; None where it takes too long.
    """

    module: str
    words: tuple[str, ...] = ()
    quick: tuple[str, ...] | None = ()


PARTS = {
    "unchanged": Part("unchanged", quick=("--rounds", "2")),
    "node-start": Part("node_start", quick=("--rounds", "1")),
    "ingest": Part("ingest", quick=("--rounds", "2")),
    "training": Part("training", ("keras",), ("keras", "--rounds", "2", "--only", "cifar10")),
    "evaluator": Part("evaluator", quick=("--rounds", "1")),
    "growth": Part("memory", ("1000", "10000"), ("1000", "4000")),
    "digits": Part("plain_tfx", ("digits", "--rounds", "5"), None),
    "mnist": Part("plain_tfx", ("mnist", "--rounds", "5"), ("mnist", "--rounds", "1", "--epochs", "1")),
}


def run_part(part: Part, is_quick: bool, log: Path, limit_secs: float = _LIMIT_SECS) -> list[Row]:
    """Run a program and return its rows; one that fails adds a row with the reason."""
    words = (part.quick or ()) if is_quick else part.words
    command = [sys.executable, "-m", f"benchmarks.{part.module}", *words]
    with tempfile.TemporaryDirectory(prefix="mirante-bench-") as folder, log.open("w") as output:
        file = Path(folder) / "rows"
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, "TMPDIR": folder, ROWS_VARIABLE: str(file)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(limit_secs)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it has left running, too
            process.wait()
        rows = read_rows(file)
    if code is None:
        rows.append(Row("", failed=f"no end after {limit_secs:.0f} s: {quote(*command[1:])}"))
    elif code not in (0, 1):  # 1: a goal is missed, which its rows say
        rows.append(Row("", failed=f"exit code {code}: {quote(*command[1:])}"))
    elif not rows:
        rows.append(Row("", failed=f"no rows, exit code {code}: {quote(*command[1:])}"))
    return rows


def describe_machine() -> dict[str, Any]:
    """Return the processor, its cores and the memory."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        return {"processor": name, **_measure_size()}
    return {"processor": platform.processor(), **_measure_size()}


def _measure_size() -> dict[str, Any]:
    return {"cores": len(os.sched_getaffinity(0)), "memory_gib": round(measure_memory()[0] / (1 << 30), 1)}


def format_page(found: Mapping[str, Any]) -> str:
    """Return the Markdown of results: the machine, the stack, the table, and when each part was run."""
    machine = found["machine"]
    stack = ", ".join(f"{name} {version}" for name, version in found["stack"].items())
    names = [field.name for field in dataclasses.fields(Row)]
    rows = {
        part: [Row(**{name: row[name] for name in names}) for row in of_part["rows"]]
        for part, of_part in found["parts"].items()
    }
    runs = [
        f"- {part}: {each['began']}, {each['secs']:.0f} s, load {each['load']:.1f} when it began"
        + (", quick" if each["quick"] else "")
        for part, each in found["parts"].items()
    ]
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB; {stack}.\n"
        "Medians, with the lowest and the highest where there were several rounds.\n\n"
        f"{format_table(rows)}\n" + "\n".join(runs) + "\n"
    )


def write_into(page: Path, text: str) -> None:
    """Put a text between the two marks of a page."""
    content = page.read_text(encoding="utf-8")
    before, found, rest = content.partition(_MARKS[0])
    _, ended, after = rest.partition(_MARKS[1])
    if not found or not ended:
        raise SystemExit(f"{page}: expected the lines {' and '.join(_MARKS)}; add them where the table goes")
    page.write_text(f"{before}{_MARKS[0]}\n\n{text}\n{_MARKS[1]}{after}", encoding="utf-8")


def main(argv: Sequence[str]) -> int:
    """Run parts, write the results, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"all when not given: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="few rounds and small data, under 10 minutes")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "bench")
    parser.add_argument("--into", type=Path, help="a page with marks, such as docs/benchmarks.md")
    given = parser.parse_args(argv)
    if unknown := [name for name in given.parts if name not in PARTS]:
        parser.error(f"{', '.join(unknown)}: expected some of {', '.join(PARTS)}")
    given.out.mkdir(parents=True, exist_ok=True)
    kept = given.out / "bench.json"
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {"parts": {}}
    found |= {"machine": describe_machine(), "stack": find_versions(), "code": find_commit()}
    started = time.monotonic()
    for name in given.parts or PARTS:
        part = PARTS[name]
        if given.quick and part.quick is None:
            continue
        print(f"{name}:", flush=True)
        load, began = os.getloadavg()[0], time.monotonic()
        at = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        limit_secs = max(1.0, started + _QUICK_SECS - began) if given.quick else _LIMIT_SECS
        rows = run_part(part, given.quick, given.out / f"{name}.log", limit_secs)
        found["parts"][name] = {
            "began": at,
            "secs": round(time.monotonic() - began, 1),
            "load": round(load, 2),
            "quick": given.quick,
            "rows": [describe_row(row) for row in rows],
        }
        print(format_table({name: rows}), flush=True)
        # In the order of PARTS, and after each part, so that an end by force loses none.
        found["parts"] = {each: found["parts"][each] for each in PARTS if each in found["parts"]}
        kept.write_text(json.dumps(found, indent=1), encoding="utf-8")
    text = format_page(found)
    (given.out / "bench.md").write_text(text, encoding="utf-8")
    if given.into is not None:
        write_into(given.into, text)
    print(f"{kept} and bench.md next to it")
    verdicts = {row["reached"] for part in found["parts"].values() for row in part["rows"]}
    return 1 if verdicts & {MISSED.strip("*"), FAILED.strip("*")} else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
