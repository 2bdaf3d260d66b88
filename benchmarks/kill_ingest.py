"""Ingests on an engine that are killed at random moments: no image is lost or doubled.

    python -m benchmarks.kill_ingest --prism BINARY [--kills 20]
    python -m benchmarks.kill_ingest --spark FOLDER [--kills 20]      with Python workers that executors start

Ingests digits by Beam (`beam.nodes.ingest`). At a random moment something is killed: the driver, Prism; on
Spark the driver, a worker with its executors, a Python worker, or an executor. An ingest that fails by it is
begun again and continues. At the end of each its shards have to be those of the processes of this machine,
byte for byte. Exits with 1 if they are not.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import psutil

from benchmarks.engines import kill_part, write_boot
from benchmarks.spark_cluster import spark_cluster
from components.base.content import file_sha256
from pipeline.data.prepare import prepare
from pipeline.engines.ingest_pool import make_ingest_pool
from pipeline.recipe.load import load_recipe

# Attempts of one ingest, so that a failure that repeats itself ends.
_MOST_ATTEMPTS = 10
_LONGEST_SECS = 600


def ingest(root: Path, overrides: Sequence[str]) -> None:
    """Ingest digits below a root."""
    recipe = load_recipe("digits", ["data.shards=24", *overrides])
    prepare(recipe.data, root, pool=make_ingest_pool(recipe.beam, root))


def read_digests(root: Path) -> dict[str, str]:
    """Return the digests of the shards below a root."""
    return {path.name: file_sha256(path) for path in sorted((root / "data").glob("*-of-*"))}


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prism", help="Prism's binary")
    parser.add_argument("--spark", type=Path, help="the folder of a Spark cluster")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--set", action="append", default=[], dest="overrides", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.child:
        ingest(given.child, given.overrides)
        return 0
    random, killed, ends, differs = Random(given.seed), 0, Counter[str](), 0
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="mirante-kills-")))
        ingest(folder / "local", [])
        expected = read_digests(folder / "local")
        cluster = running.enter_context(spark_cluster(given.spark)) if given.spark else None
        if cluster is not None:
            boot = write_boot(folder)
            overrides = ["beam.engine=spark", f"beam.endpoint={cluster.endpoint}", "beam.environment=process"]
            overrides += [f"beam.worker_command={boot}"]
        else:
            overrides = ["beam.engine=prism", f"beam.prism_location={given.prism}"]
        overrides.append("beam.nodes={ingest: {}}")
        words = [word for one in overrides for word in ("--set", one)]
        log = running.enter_context((folder / "log").open("ab"))
        secs, number = 0.0, 0
        # The first one is left alone: it says how long they take.
        while killed < given.kills or number == 0:
            root = folder / f"root-{number}"
            for attempt in range(_MOST_ATTEMPTS):
                command = [sys.executable, "-m", "benchmarks.kill_ingest", "--child", str(root), *words]
                began = time.monotonic()
                process = psutil.Popen(command, stdout=log, stderr=log)
                if number and killed < given.kills and attempt < _MOST_ATTEMPTS - 1:
                    with contextlib.suppress(psutil.TimeoutExpired):
                        process.wait(secs * random.uniform(0.3, 1.0))
                    if process.poll() is None:
                        what = kill_part(process, killed, cluster)
                        code = process.wait(_LONGEST_SECS)
                        ends[f"{what}: {'completed' if code == 0 else 'began again'}"] += 1
                        killed += 1
                if process.wait(_LONGEST_SECS) == 0:
                    break
            else:
                raise SystemExit(f"{root}: no end after {_MOST_ATTEMPTS} attempts")
            secs = secs or time.monotonic() - began
            differs += read_digests(root) != expected
            number += 1
    print(f"{killed} kills in {number - 1} ingests, {secs:.0f} s each without; {differs} with other shards")
    for end, count in sorted(ends.items()):
        print(f"  {count:3} x {end}")
    return int(differs > 0)


if __name__ == "__main__":
    # A limit of time ends it so: then the cluster has to end, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    sys.exit(main(sys.argv[1:]))
