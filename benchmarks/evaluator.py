"""Evaluator against TFX's own with one metric: the same trained model on 10,000 images, alternating.

    python benchmarks/evaluator.py [--rounds N]        (`make bench-evaluator`)

Trains MNIST's network for one epoch, once. Then TFX's Evaluator with accuracy alone and Mirante's with all
metrics judge that model on MNIST's 10,000 test images in turn, in one process, as nodes of a run do. Each has
one evaluation before, which is not counted. Prints the seconds and the medians; the last line is a JSON
object. Exits 1 when Mirante's takes more than 0.7 of the other's time, or the accuracies differ.

Needs MNIST: MIRANTE_TEST_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.table import Row, note_row
from schemas import features

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("MIRANTE_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
MIRANTE = Path(sys.executable).with_name("mirante")
MAX_RATIO = 0.7
CLASSES = tuple("0123456789")


def train(root: Path) -> None:
    """Runs the recipe, so that examples and a model are there."""
    settings = ["training.epochs=1", "evaluation.thresholds={accuracy: 0.9}"]
    command = [str(MIRANTE), "run", "mnist", "--data", str(DATA / "mnist"), "--root", str(root)]
    subprocess.run(
        [*command, *(part for setting in settings for part in ("--set", setting))],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def evaluate(root: Path, folder: Path, config: Any, module_path: str | None) -> tuple[float, float]:
    """Seconds that TFX's executor takes for an evaluation into `folder`, and the accuracy."""
    import apache_beam as beam
    import tensorflow_model_analysis as tfma
    from apache_beam.options.pipeline_options import PipelineOptions
    from tfx.components.evaluator.executor import Executor
    from tfx.types import standard_artifacts
    from tfx.utils import json_utils, proto_utils

    from pipeline.engines.arguments import IN_MEMORY

    examples, model = standard_artifacts.Examples(), standard_artifacts.Model()
    (examples.uri,) = map(str, (root / "ImportExampleGen" / "examples").iterdir())
    examples.split_names = json.dumps(list(features.SPLITS))
    (model.uri,) = map(str, (root / "Trainer" / "model").iterdir())
    evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    evaluation.uri, blessing.uri = str(folder / "evaluation"), str(folder / "blessing")
    context = Executor.Context(
        make_beam_pipeline_fn=lambda: beam.Pipeline(options=PipelineOptions(list(IN_MEMORY)))
    )
    began = time.monotonic()
    Executor(context).Do(
        {"examples": [examples], "model": [model]},
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(config),
            "example_splits": json_utils.dumps([features.TEST]),
            "fairness_indicator_thresholds": "null",
            "module_path": module_path,
        },
    )
    seconds = time.monotonic() - began
    (accuracy,) = (
        item.value.double_value.value
        for by_slice in tfma.load_metrics(evaluation.uri)
        for item in by_slice.metric_keys_and_values
        if item.key.name == "accuracy"
    )
    return seconds, accuracy


def plain_config() -> Any:
    """One metric, as a recipe of TFX's has it."""
    import tensorflow_model_analysis as tfma

    accuracy = tfma.MetricConfig(
        class_name="SparseCategoricalAccuracy",
        config='{"name": "accuracy"}',
        threshold=tfma.MetricThreshold(
            value_threshold=tfma.GenericValueThreshold(lower_bound={"value": 0.9})
        ),
    )
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                label_key=features.LABEL,
                prediction_key="probabilities",
                signature_name="serving_tf_examples",
            )
        ],
        slicing_specs=[tfma.SlicingSpec()],
        metrics_specs=[tfma.MetricsSpec(metrics=[accuracy])],
    )


def main() -> int:
    """Evaluates in turn and prints the ratio."""
    parser = argparse.ArgumentParser(description="Evaluator against TFX's own with one metric.")
    parser.add_argument("--rounds", type=int, default=5, help="evaluations by each; medians are compared")
    parser.add_argument("--root", type=Path, help="an MNIST run's root, instead of a new training")
    arguments = parser.parse_args()
    if not (DATA / "mnist").is_dir():
        print(f"{DATA / 'mnist'}: no such folder: set MIRANTE_TEST_DATA", file=sys.stderr)
        return 2
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="mirante-evaluator-") as name:
        folder = Path(name)
        root = arguments.root or folder / "root"
        if arguments.root is None:
            train(root)

        from components.evaluator.config import EvaluationConfig
        from components.tasks.classification.evaluator import EXTRACTORS, make_eval_config

        ours = make_eval_config(
            EvaluationConfig(thresholds={"accuracy": 0.9}), CLASSES, expected_examples=10_000
        )
        sides: dict[str, tuple[Any, str | None]] = {
            "mirante": (ours, EXTRACTORS),
            "plain": (plain_config(), None),
        }
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        accuracies = {}
        for number in range(arguments.rounds + 1):
            for side in sorted(sides, reverse=number % 2 == 1):
                secs, accuracies[side] = evaluate(root, folder / f"{side}-{number}", *sides[side])
                print(f"{side}, round {number}: {secs:.2f} s, accuracy {accuracies[side]:.4f}", flush=True)
                if number:  # the first one warms up
                    seconds[side].append(secs)
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    note_row(
        Row(
            "10,000 images, all metrics",
            "s",
            seconds["mirante"],
            "TFX's own, one metric",
            seconds["plain"],
            MAX_RATIO,
        )
    )
    ratio = medians["mirante"] / medians["plain"]
    # TFX's own rounds to float32.
    is_ok = ratio <= MAX_RATIO and abs(accuracies["mirante"] - accuracies["plain"]) < 1e-6
    print(
        f"Mirante {medians['mirante']:.2f} s with all metrics, TFX {medians['plain']:.2f} s with one: "
        f"ratio {ratio:.3f}, must be <= {MAX_RATIO}: {'ok' if is_ok else 'MISSED'}"
    )
    print(json.dumps({"ratio": ratio, "seconds": seconds, "accuracy": accuracies}))
    return 0 if is_ok else 1


if __name__ == "__main__":
    sys.exit(main())
