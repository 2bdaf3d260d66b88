"""One recipe on several of Beam's engines: is what every node leaves equal to the run in memory?

    python -m benchmarks.engines --prism ~/bin/prism [RECIPE] [--data DIR] [--set KEY=VALUE]...

Runs the recipe in memory and on each engine, each in a root of its own, and compares records, statistics,
anomalies, facts of the data, the Transform graph and all metrics. Prints a row for each engine and exits with
1 if something differs. `--spark FOLDER` adds Spark, on a cluster that is started here (spark_cluster.py).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import psutil
from google.protobuf.json_format import MessageToDict
from tensorflow_metadata.proto.v0.anomalies_pb2 import Anomalies
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList
from tensorflow_transform import TFTransformOutput

from benchmarks.spark_cluster import SparkCluster, spark_cluster
from components.base.table import read_table
from components.base.tfrecord import read_records
from components.transform.levels import measured_levels
from pipeline.recipe.load import load_recipe
from pipeline.recipe.recipe import Recipe

MIRANTE = Path(sys.executable).with_name("mirante")
CHECKOUT = Path(__file__).resolve().parents[1]
# What the command line of a Python worker has, which an executor of Spark has started.
_PYTHON_WORKER = "pipeline.engines.boot"
# A model that is not good enough is one, too.
_SUCCESSES = (0, 4)
# The list of mistakes has scores of this many digits.
_ANSWERS, _SCORE, _SCORE_DIGITS = "answers", "score", 6
# Attempts of one run, and how long one may take.
_MOST_ATTEMPTS = 8
_LONGEST_SECS = 900


def find_output(root: Path, node: str, channel: str) -> Path:
    """Return the folder of a node's newest output."""
    return max((root / node / channel).iterdir(), key=lambda path: int(path.name))


def read_files(folder: Path, pattern: str) -> dict[str, bytes]:
    """Return the contents of files by their paths in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob(pattern))}


def sort_features(message: Any) -> Any:
    """Sort the features of statistics or of a schema by name: TFDV has them in the order of merging."""
    if isinstance(message, Anomalies):
        message.baseline.feature.sort(key=str)
        message.baseline.string_domain.sort(key=str)
    else:
        for part in message.datasets:
            part.features.sort(key=str)
    return message


def read_facts(root: Path, recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Yield what a run left, by name; what is equal in two runs is equal here.

    The Transform graph counts by what it does to black and white: its mean and its variance are sums of
    float64, whose last digits depend on the order.
    """
    examples = find_output(root, "ImportExampleGen", "examples")
    yield (
        "records",
        {
            str(path.relative_to(examples)): list(read_records(path))
            for path in sorted(examples.rglob("*.gz"))
        },
    )
    statistics = find_output(root, "StatisticsGen", "statistics")
    yield (
        "statistics",
        {
            name: MessageToDict(sort_features(DatasetFeatureStatisticsList.FromString(data)))
            for name, data in read_files(statistics, "FeatureStats.pb").items()
        },
    )
    for name, node in (("anomalies", "ExampleValidator"), ("drift", "DistributionValidator")):
        found = read_files(find_output(root, node, "anomalies"), "*.pb")
        yield name, {split: sort_features(Anomalies.FromString(data)) for split, data in found.items()}
    yield "data", read_files(find_output(root, "DataGate", "blessing"), "report.json")
    graph = str(find_output(root, "Transform", "transform_graph"))
    yield "graph", measured_levels(TFTransformOutput(graph), recipe.transform)
    yield "model", read_files(find_output(root, "Trainer", "model"), "variables.data*")
    evaluation = find_output(root, "Evaluator", "evaluation")
    yield "metrics", json.loads((evaluation / "evaluation.json").read_text(encoding="utf-8"))
    tables = read_files(evaluation, "mistakes.csv").values()
    rows = [row for table in tables for row in read_table(table.decode())]
    answers = [{**row, _SCORE: float(row[_SCORE])} if _SCORE in row else row for row in rows]
    yield _ANSWERS, sorted(answers, key=lambda row: list(row.values())[:-1])


def is_equal(found: Any, expected: Any, smallest: float = 1e-9) -> bool:
    """Compare two facts, and numbers to one part in a million, or to `smallest` next to zero.

    TFDV sums up means and deviations in the order of merging, and the last digits of float64 follow from it.
    The Evaluator asks the model about batches whose size follows from the time that they take, in memory too,
    and the last digits of float32 follow from the size.
    """
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            is_equal(found[key], expected[key], smallest) for key in found
        )
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(
            is_equal(one, other, smallest) for one, other in zip(found, expected, strict=True)
        )
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-6, abs_tol=smallest)
    return bool(found == expected)


def run(arguments: Sequence[str], root: Path) -> tuple[float, float]:
    """Run a recipe, or end the program; returns seconds, and seconds of CPU with those of children."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [str(MIRANTE), "run", *arguments, "--root", str(root), "--json"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=_LONGEST_SECS)
    except subprocess.TimeoutExpired as e:
        raise SystemExit(f"{' '.join(command)}: not done after {_LONGEST_SECS} s") from e
    secs, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    if done.returncode not in _SUCCESSES:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}: {result.get('error')}")
    return secs, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_boot(folder: Path) -> Path:
    """Write a program by which Spark's executors start Python workers of this checkout; return its path."""
    boot = folder / "boot"
    boot.write_text(f'#!/bin/sh\nPYTHONPATH={CHECKOUT} exec {sys.executable} -m pipeline.engines.boot "$@"\n')
    boot.chmod(0o755)
    return boot


def run_killed(
    arguments: Sequence[str],
    root: Path,
    secs: float,
    random: Random,
    numbers: Iterator[int],
    cluster: SparkCluster | None,
) -> Iterator[str]:
    """Run a recipe until it has succeeded, and kill something of each attempt at a random moment.

    In turn: the run's process; the Prism that it started, or a worker of Spark with its executors, which is
    started again; a Python worker, if executors start them; an executor.

    Args:
        arguments: Those of `mirante run`.
        root: The pipeline root.
        secs: How long a run takes.
        random: Chooses the moments.
        numbers: The kills that are left; attempts after them are left alone.
        cluster: Spark's.

    Yields:
        What was killed, and how the attempt ended, in words.

    Raises:
        SystemExit: No attempt succeeded, though nothing was killed in the last one.
    """
    command = [str(MIRANTE), "run", *arguments, "--root", str(root), "--json"]
    for attempt in range(_MOST_ATTEMPTS):
        process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        killed = None
        try:
            # The last one is left alone, and one that ends first has none.
            if attempt < _MOST_ATTEMPTS - 1:
                with contextlib.suppress(psutil.TimeoutExpired):
                    process.wait(secs * random.uniform(0.15, 0.9))
                if process.poll() is None and (number := next(numbers, None)) is not None:
                    killed = kill_part(process, number, cluster)
            output, _ = process.communicate(timeout=_LONGEST_SECS)
        finally:
            if process.poll() is None:
                process.kill()
        error = json.loads(output.splitlines()[-1])["error"] if output else None
        if killed:
            end = "completed" if process.returncode in _SUCCESSES else f"exit code {process.returncode}"
            yield f"killed {killed}: {end}{f', {error}' if error else ''}"
        if process.returncode in _SUCCESSES:
            return
        if not killed:
            raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}: {error}")


def kill_part(process: psutil.Popen, number: int, cluster: SparkCluster | None) -> str:
    """Kill what is due; return its name. Without a job of Beam's there may be none, then it is the run."""
    if cluster is not None and number % 4:
        worker = number % len(cluster.list_workers())
        if number % 4 == 1:
            cluster.kill_worker(worker)
            cluster.start_worker(worker)
            return "Spark's worker"
        what = _PYTHON_WORKER if number % 4 == 2 else ""
        if cluster.kill_executors(worker, what):
            return "Python worker" if what else "executor"
    try:
        prisms = [child for child in process.children() if "prism" in child.name()]
        victim = prisms[0] if prisms and number % 2 else process
        victim.kill()
    except psutil.NoSuchProcess:
        return "nothing, it had ended"
    return "Prism" if victim is not process else "driver"


def list_differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Return the names of the facts that differ."""
    smallest = {_ANSWERS: 2 * 10.0**-_SCORE_DIGITS}
    return [name for name in found if not is_equal(found[name], expected[name], smallest.get(name, 1e-9))]


def name_all(names: Sequence[str]) -> str:
    """Return names for the end of a row."""
    return ", ".join(names) or "in nothing"


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="digits")
    parser.add_argument("--data")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--prism", help="Prism's binary")
    parser.add_argument("--spark", type=Path, help="the folder of a Spark cluster")
    parser.add_argument("--processes", action="store_true", help="Spark's executors start the Python workers")
    parser.add_argument("--fresh-executors", action="store_true", help="each job on Spark starts its own")
    parser.add_argument("--kills", type=int, default=0, help="kill parts of runs so often, too")
    parser.add_argument("--seed", type=int, default=0, help="of the moments, and what is killed first")
    parser.add_argument("--keep", type=Path, help="a folder for the roots; what is there is not run again")
    given = parser.parse_args(argv)
    engines: dict[str, list[str]] = {"in_memory": []}
    if given.prism:
        engines["prism"] = [
            "beam.engine=prism",
            f"beam.prism_location={given.prism}",
            "beam.nodes={ingest: {}}",
        ]
    recipe = load_recipe(given.recipe, given.overrides, given.data)
    differs, cluster = 0, None
    with contextlib.ExitStack() as running:
        temporary = running.enter_context(tempfile.TemporaryDirectory(prefix="mirante-engines-"))
        if given.spark:
            cluster = running.enter_context(spark_cluster(given.spark, not given.fresh_executors))
            engines["spark"] = ["beam.engine=spark", f"beam.endpoint={cluster.endpoint}"]
            if given.processes:
                boot = write_boot(Path(temporary))
                engines["spark"] += ["beam.environment=process", f"beam.worker_command={boot}"]
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        expected: dict[str, Any] = {}
        print(f"{'engine':10} {'wall s':>7} {'CPU s':>7} {'servers':>7}  differs from in_memory", flush=True)
        for engine, options in engines.items():
            overrides = [word for one in (*given.overrides, *options) for word in ("--set", one)]
            data = ["--data", given.data] if given.data else []
            arguments = [given.recipe, *data, *overrides]
            spark = cluster if engine == "spark" else None
            known = folder / f"{engine}.json"
            if known.exists():
                secs, cpu_secs, servers = json.loads(known.read_text(encoding="utf-8"))
            else:
                before = spark.cpu_seconds() if spark else 0.0
                secs, cpu_secs = run(arguments, folder / engine)
                servers = spark.cpu_seconds() - before if spark else 0.0
                known.write_text(json.dumps([secs, cpu_secs, servers]), encoding="utf-8")
            found = dict(read_facts(folder / engine, recipe))
            expected = expected or found
            other = list_differences(found, expected)
            differs += bool(other)
            print(f"{engine:10} {secs:7.1f} {cpu_secs:7.1f} {servers:7.1f}  {name_all(other)}", flush=True)
            if given.kills and engine != "in_memory":
                random, kills, runs = Random(given.seed), list[str](), 0
                numbers = iter(range(given.seed, given.seed + given.kills))
                while len(kills) < given.kills:
                    root = folder / f"{engine}-killed-{runs}"
                    shutil.rmtree(root, ignore_errors=True)
                    for line in run_killed(arguments, root, secs, random, numbers, spark):
                        print(f"  {line}", flush=True)
                        kills.append(line)
                    other = list_differences(dict(read_facts(root, recipe)), expected)
                    differs += bool(other)
                    if not other:
                        shutil.rmtree(root)
                    print(f"{engine:10} run {runs}, {len(kills)} kills so far: {name_all(other)}", flush=True)
                    runs += 1
    return int(differs > 0)


if __name__ == "__main__":
    # A limit of time ends it so: then the cluster has to end, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    sys.exit(main(sys.argv[1:]))
