"""What the Evaluator asks about classification: its metric for TFMA, and its warnings.

The metrics, overall and by class, are described in `components.tasks.classification.metrics`. With
`slice_by_class` the overall ones are also computed by slice of true class.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from tensorflow_model_analysis.proto import config_pb2

from components.base.files import write_bytes, write_text
from components.base.intervals import Interval
from components.evaluator.config import EvaluationConfig
from components.evaluator.eval_config import build_eval_config
from components.evaluator.evaluation import mistakes_path, write_draws
from components.evaluator.gathered import MISTAKES, PREDICTIONS, PREDICTIONS_FILE
from components.evaluator.metric import IMAGES
from components.evaluator.results import read_candidate
from components.tasks.classification import batches, figures, mistake_images
from components.tasks.classification.confidence import find_confidence
from components.tasks.classification.metrics import list_metric_names
from components.tasks.classification.mistakes import Mistakes
from components.tasks.classification.plots import read_plots
from components.tasks.classification.predictions import Predictions
from components.tasks.classification.tfma_metric import ClassificationMetrics
from components.tasks.classification.trivial import TRIVIAL, describe_evidence
from schemas import features

__all__ = [
    "EXTRACTORS",
    "TRIVIAL",
    "add_baseline_classes",
    "describe_evidence",
    "find_warnings",
    "list_metric_names",
    "make_eval_config",
    "read_intervals",
    "write_report",
]  # fmt: skip

# Whole batches of images at once.
EXTRACTORS = batches.__name__
# The cost of slices grows with the square of the classes; above this number there are metrics by class only.
MAX_SLICED_CLASSES = 50


def make_eval_config(
    config: EvaluationConfig, class_names: Sequence[str], expected_examples: int | None = None
) -> config_pb2.EvalConfig:
    """Build TFMA's configuration with `ClassificationMetrics`."""
    is_sliced = config.slice_by_class and len(class_names) <= MAX_SLICED_CLASSES
    return build_eval_config(
        config,
        class_names,
        list_metric_names(len(class_names)),
        ClassificationMetrics,
        {"num_classes": len(class_names), "expected_examples": expected_examples},
        keys={"label_key": features.LABEL, "prediction_key": "probabilities"},
        slice_by=features.LABEL_TEXT if is_sliced else None,
    )


def add_baseline_classes(config: config_pb2.EvalConfig, class_names: Sequence[str]) -> None:
    """Add nothing: a classifier names its classes with every answer."""


def find_warnings(metrics: Mapping[str, float]) -> list[str]:
    """Return a warning if some probabilities are not numbers."""
    wrong = metrics.get("not_number_count")
    if not wrong:
        return []
    return [
        f"{wrong:,.0f} of {metrics.get(IMAGES, 0.0):,.0f} test images: the model's probabilities are "
        "not all finite numbers; each counts as wrong, and there is no loss; train again with a lower "
        "training.learning_rate"
    ]


def read_intervals(evaluation: str) -> dict[str, Interval]:
    """Return the 95 % confidence intervals of overall metrics that `write_report` wrote, by name."""
    return figures.read_figures(evaluation).intervals


def write_report(evaluation: str, files: Sequence[str], model: str) -> int | None:
    """Write mistakes with images and heat maps, predictions and figures.

    Returns:
        The number of mistakes; None without any examples.
    """
    stored, metrics = read_candidate(evaluation)
    figures_path = os.path.join(evaluation, figures.FILE)
    if MISTAKES not in stored:
        write_text(figures_path, figures.Figures().to_json())
        return None
    mistakes = Mistakes.from_bytes(stored[MISTAKES])
    predictions = Predictions.from_bytes(stored[PREDICTIONS])
    write_text(mistakes_path(evaluation), mistakes.format())
    confidence = find_confidence(predictions, metrics)
    drawn = figures.make_figures(predictions, confidence, read_plots(evaluation))
    write_text(figures_path, drawn.to_json())
    write_draws(evaluation, confidence.draws)
    write_bytes(os.path.join(evaluation, PREDICTIONS_FILE), predictions.format())
    encoded = mistake_images.write_images(evaluation, mistakes, files, mistake_images.MOST_HEAT)
    mistake_images.write_heat(evaluation, mistakes, encoded, model)
    return mistakes.total
