"""Runs readers on changed inputs: `python -m tests.fuzz [READER...] [--inputs N] [--seed S] [--number N]`."""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import time

from tests.fuzz.try_inputs import Tried, try_inputs

READERS_AT_A_TIME = 2


def main() -> int:
    """Tries each reader in a process of its own; returns 1 where there are findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", help="which; all when not given")
    parser.add_argument("--inputs", type=int, default=20_000, help="for each reader [20000]")
    parser.add_argument("--seed", type=int, default=0, help="other seeds, other inputs [0]")
    parser.add_argument(
        "--number", type=int, help="one input alone, as a finding names it; what it raises is shown"
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child or given.number is not None:
        tried = try_inputs(given.readers[0], given.inputs, given.seed, only=given.number)
        print(json.dumps(tried.to_json()))
        return 0
    from tests.fuzz.seeds import TARGETS

    readers = given.readers or [*TARGETS, "recipe"]
    with concurrent.futures.ThreadPoolExecutor(READERS_AT_A_TIME) as pool:
        all_tried = list(pool.map(lambda reader: _in_child(reader, given.inputs, given.seed), readers))
    for tried in all_tried:
        print(tried)
    return int(any(tried.findings for tried in all_tried))


def _in_child(reader: str, inputs: int, seed: int) -> Tried:
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        reader,
        "--inputs",
        str(inputs),
        "--seed",
        str(seed),
        "--child",
    ]
    began = time.monotonic()
    # Files that last milliseconds need no disk.
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": shared}
    )
    if done.returncode:
        return Tried(reader, inputs, 0, 0, {f"the process ended with {done.returncode}": done.stderr[-2000:]})
    tried = Tried.from_json(json.loads(done.stdout.splitlines()[-1]))
    print(f"{reader}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return tried


if __name__ == "__main__":
    sys.exit(main())
