"""An unchanged run against importing TensorFlow: digits is run once, then both alternate.

    python -m benchmarks.unchanged [--rounds N]          (`make bench-unchanged`)

Nothing executes in such a run, so it must not load TensorFlow, Beam and TFX to find that out
(pipeline/run/unchanged.py). Prints the medians of wall time and of CPU time, children included; exits 1 where
the run takes more than 1.5 of the import's time by either.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.plain_tfx import MIRANTE, timed
from benchmarks.table import Row, note_row

MAX_RATIO = 1.5
IMPORT, AGAIN = "import tensorflow", "unchanged run"


def main() -> int:
    """Run the digits once, then both in turn."""
    parser = argparse.ArgumentParser(description="An unchanged run against importing TensorFlow.")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each; medians are compared")
    rounds = parser.parse_args().rounds
    found: dict[str, list[tuple[float, float]]] = {IMPORT: [], AGAIN: []}
    with tempfile.TemporaryDirectory(prefix="mirante-unchanged-") as name:
        log = Path(name) / "log"
        run = [str(MIRANTE), "run", "digits", "--root", str(Path(name) / "root")]
        timed(run, log)
        for _ in range(rounds):
            for what, command in ((IMPORT, [sys.executable, "-c", IMPORT]), (AGAIN, run)):
                wall_secs, cpu_secs, said = timed(command, log)
                if what == AGAIN and "nothing changed" not in said:
                    print(f"unchanged: a node executed:\n{said}", file=sys.stderr)
                    return 1
                found[what].append((wall_secs, cpu_secs))
    reached = True
    for place, kind in enumerate(("wall", "CPU")):
        values = {what: [each[place] for each in pairs] for what, pairs in found.items()}
        note_row(Row(f"second run of digits, {kind}", "s", values[AGAIN], IMPORT, values[IMPORT], MAX_RATIO))
        imported, again = map(statistics.median, values.values())
        ratio = again / imported
        reached = reached and ratio <= MAX_RATIO
        print(
            f"unchanged: {kind:4} {again:.2f} s, import {imported:.2f} s: ratio {ratio:.2f}, "
            f"must be <= {MAX_RATIO}: {'ok' if ratio <= MAX_RATIO else 'MISSED'}"
        )
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
