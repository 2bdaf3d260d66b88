"""Mirante against TFX's plain arrangement: the same network, steps and shards, alternating, by wall time.

    python benchmarks/plain_tfx.py [mnist|cats_vs_dogs|digits] [--rounds N] [--epochs N] [--plain-xla off]

(`make bench-plain-tfx`: MNIST, then the photos.)

The plain side (benchmarks/plain) is the pipeline of TFX's own MNIST example: inferred schema, Transform with
materialised pixels, a Trainer that reads them back, Evaluator with one metric, Pusher, by LocalDagRunner.
Mirante runs all its nodes, with those that the plain side does not have (DataGate, DistributionValidator,
InfraValidator) and all its metrics by class. Both train the recipe's network with its optimiser, schedule,
batch size and epochs (early stopping is off), validate after every epoch, and are judged by the same images.

Ingest is done once, before, for both. Each side is a fresh process under a fresh root, timed from its start
to its end, so imports count. A side that does not push a model fails the benchmark. Prints the seconds by
node and the medians; the last line is a JSON object. Exits 1 when Mirante takes more than 0.7 of the plain
side's time.

Keras compiles the train step with XLA by default; Mirante does not on CPUs
(docs/decisions/004-xla-off-on-cpus.md). The plain side keeps the default; `--plain-xla off` switches XLA off
there too, which tells what the rest of the arrangement makes. Mirante switches on oneDNN's kernels
(docs/decisions/007-fast-on-cpus.md), the plain side has what TensorFlow chooses; with
TF_ENABLE_ONEDNN_OPTS=1 (or 0) in the environment both sides have the same.

Needs the real image sets: MIRANTE_TEST_DATA (default ../shared/data). `digits` needs nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.table import Row, note_row
from pipeline.data.examples import Examples, describe
from pipeline.data.prepare import prepare
from pipeline.recipe.load import load_recipe
from pipeline.recipe.recipe import Recipe
from schemas import features

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("MIRANTE_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
MIRANTE = Path(sys.executable).with_name("mirante")
PLAIN = Path(__file__).with_name("plain") / "plain_pipeline.py"
WEIGHTS = DATA / "weights" / "mobilenet_v2_1.0_224_dequantized_no_top.h5"
MAX_RATIO = 0.7
# The goal for MNIST.
MNIST_RATIO = 0.5
# Goals for single nodes on MNIST; digits are too few for them.
NODE_RATIOS = {"ImportExampleGen": 0.5, "StatisticsGen": 0.5, "Trainer": None, "Evaluator": 0.7}
# Goal for the demo, after set-up.
DIGITS_SECS = 30

# Recipe: what `--data` and `--set` say.
WORKLOADS: dict[str, tuple[Path | None, tuple[str, ...]]] = {
    "mnist": (DATA / "mnist", ()),
    "cats_vs_dogs": (DATA / "cats_vs_dogs", (f"model.weights={WEIGHTS}",)),
    "digits": (None, ()),
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One side's run: seconds of its process, wall and CPU, children included; accuracy; seconds by node."""

    wall_secs: float
    cpu_secs: float
    accuracy: float
    node_secs: dict[str, float]


def timed(command: list[str], log: Path) -> tuple[float, float, str]:
    """Wall and CPU seconds of a process, and its standard output; its standard error goes to `log`."""
    output = log.with_suffix(".out")
    began = time.monotonic()
    with open(log, "w", encoding="utf-8") as errors, open(output, "w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=errors, cwd=REPOSITORY)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall_secs = time.monotonic() - began
    if process.returncode != 0:
        tail = "".join(log.read_text(encoding="utf-8").splitlines(keepends=True)[-30:])
        sys.exit(f"{' '.join(command)} ended with {process.returncode}; its last lines:\n{tail}")
    return wall_secs, usage.ru_utime + usage.ru_stime, output.read_text(encoding="utf-8")


def run_mirante(workload: str, overrides: list[str], data: Path, root: Path) -> Outcome:
    """`mirante run` on contract data."""
    settings = [argument for override in overrides for argument in ("--set", override)]
    command = [str(MIRANTE), "run", workload, "--data", str(data), "--root", str(root), *settings, "--json"]
    wall_secs, cpu_secs, output = timed(command, root.with_suffix(".log"))
    result = json.loads(output.splitlines()[-1])
    nodes = {node: outcome["seconds"] for node, outcome in result["components"].items()}
    return Outcome(wall_secs, cpu_secs, result["metrics"]["accuracy"], nodes)


def run_plain(recipe: Recipe, examples: Examples, xla: str, root: Path) -> Outcome:
    """The plain arrangement on the same shards."""
    root.mkdir()
    settings = {
        "root": str(root),
        "data": str(examples.folder),
        "patterns": {split: examples.patterns[split] for split in features.SPLITS},
        "transform": recipe.transform.model_dump(),
        "model": recipe.model.model_dump(),
        "training": recipe.training.model_dump(),
        "classes": len(examples.class_names),
        "train_images": examples.split_sizes[features.TRAIN],
        "eval_images": examples.split_sizes[features.EVAL],
        "min_accuracy": recipe.evaluation.thresholds["accuracy"],
        "jit_compile": "auto" if xla == "auto" else False,
    }
    file = root.with_suffix(".json")
    file.write_text(json.dumps(settings), encoding="utf-8")
    wall_secs, cpu_secs, _ = timed([sys.executable, str(PLAIN), str(file)], root.with_suffix(".log"))
    return Outcome(wall_secs, cpu_secs, *_plain_result(root))


def _plain_result(root: Path) -> tuple[float, dict[str, float]]:
    """Accuracy on the test split, and seconds by node as ML Metadata has them."""
    import tensorflow_model_analysis as tfma
    from ml_metadata import MetadataStore
    from tfx.orchestration.metadata import sqlite_metadata_connection_config

    if not list((root / "serving").glob("*/saved_model.pb")):
        sys.exit(f"the plain side pushed no model: {root}")
    store = MetadataStore(sqlite_metadata_connection_config(str(root / "metadata.sqlite")))
    nodes = {}
    for execution in store.get_executions():
        (context,) = (c for c in store.get_contexts_by_execution(execution.id) if c.type == "node")
        millis = execution.last_update_time_since_epoch - execution.create_time_since_epoch
        nodes[context.name.partition(".")[2]] = millis / 1000
    (folder,) = (root / "Evaluator" / "evaluation").iterdir()
    (by_slice,) = tfma.load_metrics(str(folder))
    (accuracy,) = (item for item in by_slice.metric_keys_and_values if item.key.name == "accuracy")
    return accuracy.value.double_value.value, nodes


def median_outcome(outcomes: list[Outcome]) -> Outcome:
    """Medians of every figure."""
    return Outcome(
        statistics.median(outcome.wall_secs for outcome in outcomes),
        statistics.median(outcome.cpu_secs for outcome in outcomes),
        statistics.median(outcome.accuracy for outcome in outcomes),
        {
            node: statistics.median(outcome.node_secs[node] for outcome in outcomes)
            for node in outcomes[0].node_secs
        },
    )


def report(workload: str, side: str, outcome: Outcome) -> None:
    """Prints where the time of a side went."""
    print(
        f"{workload}: {side}: {outcome.wall_secs:.1f} s, {outcome.cpu_secs:.1f} s of CPU, "
        f"test accuracy {outcome.accuracy:.4f}"
    )
    for node, secs in outcome.node_secs.items():
        print(f"{workload}:   {node:32}{secs:8.1f} s")
    rest = outcome.wall_secs - sum(outcome.node_secs.values())
    print(f"{workload}:   {'imports and all else':32}{rest:8.1f} s", flush=True)


def note_rows(workload: str, outcomes: dict[str, list[Outcome]]) -> None:
    """Note wall and CPU times of the whole runs, and of the nodes that have a goal."""
    ours, theirs = outcomes["mirante"], outcomes["plain"]
    for kind, limit in (("wall", MNIST_RATIO if workload == "mnist" else None), ("cpu", None)):
        values = [[getattr(outcome, f"{kind}_secs") for outcome in side] for side in (ours, theirs)]
        note_row(Row(f"whole run, {kind}", "s", values[0], "plain TFX", values[1], limit))
    if workload == "digits":
        note_row(Row("whole run, wall", "s", [outcome.wall_secs for outcome in ours], limit=DIGITS_SECS))
    for node, most in NODE_RATIOS.items() if workload == "mnist" else ():
        values = [[outcome.node_secs[node] for outcome in side] for side in (ours, theirs)]
        note_row(Row(node, "s", values[0], "plain TFX", values[1], most))


def main() -> int:
    """Runs both sides in turn and prints the ratio."""
    parser = argparse.ArgumentParser(description="Mirante against TFX's plain arrangement, by wall time.")
    parser.add_argument("workload", nargs="?", default="mnist", choices=sorted(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=1, help="runs of each side; medians are compared")
    parser.add_argument("--epochs", type=int, help="the recipe's unless given")
    parser.add_argument("--plain-xla", choices=("auto", "off"), default="auto", help="Keras' default is auto")
    arguments = parser.parse_args()
    workload = arguments.workload
    source, settings = WORKLOADS[workload]
    if source is not None and not source.is_dir():
        print(f"{source}: no such folder: set MIRANTE_TEST_DATA", file=sys.stderr)
        return 2
    # Early stopping would give the sides different numbers of steps; few `--epochs` reach no high threshold.
    overrides = [*settings, "training.patience_epochs=null", "evaluation.thresholds={accuracy: 0.8}"]
    if arguments.epochs is not None:
        overrides.append(f"training.epochs={arguments.epochs}")
    recipe = load_recipe(workload, overrides, str(source) if source is not None else None)

    outcomes: dict[str, list[Outcome]] = {"mirante": [], "plain": []}
    with tempfile.TemporaryDirectory(prefix="mirante-plain-") as name:
        folder = Path(name)
        data = prepare(recipe.data, folder).folder
        examples = describe(data, recipe.data)
        print(f"{workload}: {examples.split_sizes}, {recipe.training.epochs} epochs", flush=True)
        for number in range(arguments.rounds):
            # The sides take turns to begin, so that none always has the warmer machine.
            for side in ("mirante", "plain") if number % 2 == 0 else ("plain", "mirante"):
                root = folder / f"{side}-{number}"
                if side == "mirante":
                    outcome = run_mirante(workload, overrides, data, root)
                else:
                    outcome = run_plain(recipe, examples, arguments.plain_xla, root)
                outcomes[side].append(outcome)
                report(workload, f"{side}, round {number + 1}", outcome)

    note_rows(workload, outcomes)
    medians = {side: median_outcome(values) for side, values in outcomes.items()}
    ratio = medians["mirante"].wall_secs / medians["plain"].wall_secs
    print(
        f"{workload}: Mirante {medians['mirante'].wall_secs:.1f} s, "
        f"plain TFX {medians['plain'].wall_secs:.1f} s: "
        f"ratio {ratio:.3f}, must be <= {MAX_RATIO}: {'ok' if ratio <= MAX_RATIO else 'MISSED'}"
    )
    print(
        json.dumps(
            {
                "workload": workload,
                "rounds": arguments.rounds,
                "epochs": recipe.training.epochs,
                "plain_xla": arguments.plain_xla,
                "ratio": ratio,
                "wall_secs": {
                    side: [outcome.wall_secs for outcome in values] for side, values in outcomes.items()
                },
                "cpu_secs": {side: outcome.cpu_secs for side, outcome in medians.items()},
                "accuracy": {side: outcome.accuracy for side, outcome in medians.items()},
                "node_secs": {side: outcome.node_secs for side, outcome in medians.items()},
            }
        )
    )
    return 0 if ratio <= MAX_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
