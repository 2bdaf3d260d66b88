"""Evaluator: what TFMA measures on the test split, and how its results are read.

Metric names, as `evaluation.thresholds` and the results use them, of classification
(components.tasks.classification.metrics says how each is counted):

    accuracy            share of images whose most probable class is right
    loss                mean cross-entropy, nats
    auc                 area under the ROC curve, one class against the rest, mean over the classes that occur
    top_5_accuracy      share of images whose class is among the five most probable (from six classes up)
    balanced_accuracy   mean recall of the classes
    min_class_recall    the lowest recall of a class
    macro_precision, macro_recall, macro_f1
                        means over the classes
    weighted_precision, weighted_recall, weighted_f1
                        means over the classes, weighted by their images
    majority_accuracy   accuracy of always the most frequent class; reported, not to be bound

Per class there are precision, recall, f1 and auc. With `slice_by_class` there are also the overall ones by
slice of true class.

Of detection there are those of components.tasks.detection.coco_eval, overall and by class; `map`, `map_50`
and `map_75` can be bound.

Bounds are components.evaluator.gate's. Where the baseline knows other classes, both models are compared on
the classes that both know; these metrics have other names, such as `common_classes/accuracy`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.base.errors import UsageError
from components.evaluator import gate
from components.evaluator.config import METRICS, EvaluationConfig
from components.resolver.baseline import shorten
from components.tasks.classification.tfma_metric import (
    COMMON_NAMES,
    CONFUSION_MATRIX,
    IMAGES,
    ROC,
    ClassificationMetrics,
)
from components.tasks.detection.tfma_metric import CocoMetrics
from schemas import features

CANDIDATE = "candidate"
BASELINE = "baseline"
# Slicing by class costs classes x classes; beyond so many, the per-class metrics must do.
MAX_SLICED_CLASSES = 50


# Of the results, in the order in which they are told.
REPORTED = (
    *METRICS["classification"],
    "majority_accuracy",
    *METRICS["detection"],
    "map_small",
    "map_medium",
    "map_large",
    "ar_1",
    "ar_10",
    "ar_100",
)
PER_CLASS = {
    "classification": ("precision", "recall", "f1", "auc"),
    "detection": ("map", "map_50", "map_75", "ar_100"),
}
_OF_ANY_CLASS = tuple(name for names in PER_CLASS.values() for name in names)


def metric_names(num_classes: int, task: str = "classification") -> tuple[str, ...]:
    """The overall metrics of a data set with so many classes that can be bound."""
    return tuple(name for name in METRICS[task] if name != "top_5_accuracy" or num_classes > 5)


def eval_config(
    config: EvaluationConfig,
    class_names: Sequence[str],
    task: str = "classification",
    expected_examples: int | None = None,
) -> config_pb2.EvalConfig:
    """Builds TFMA's configuration: one metric, its bounds, slices, through `serving_tf_examples`.

    Args:
        config: The recipe's `evaluation` part.
        class_names: All classes, in the order of their labels.
        task: The recipe's.
        expected_examples: Images of the test split, None where that is not known; the evaluation of another
            number of images fails.

    Raises:
        UsageError: A threshold is set on a metric that this data set does not have.
    """
    known = metric_names(len(class_names), task)
    for key in ("thresholds", "max_regression"):
        unknown = sorted(set(getattr(config, key)) - set(known))
        if unknown:
            raise UsageError(
                f"evaluation.{key}.{unknown[0]}: no such metric with {len(class_names)} classes; "
                f"there are {', '.join(known)}"
            )
    kind: Any = CocoMetrics
    options: dict[str, Any] = {"class_names": list(class_names)}
    # A detector has no keys: its metric takes labels from the record, and predictions from all outputs.
    keys: dict[str, str] = {}
    slices = [config_pb2.SlicingSpec()]
    if task == features.CLASSIFICATION:
        kind, options = ClassificationMetrics, {"num_classes": len(class_names)}
        keys = {"label_key": features.LABEL, "prediction_key": "probabilities"}
        if config.slice_by_class and len(class_names) <= MAX_SLICED_CLASSES:
            slices.append(config_pb2.SlicingSpec(feature_keys=[features.LABEL_TEXT]))
    metric = config_pb2.MetricConfig(
        class_name=kind.__name__,
        module=kind.__module__,
        config=json.dumps({**options, "expected_examples": expected_examples}),
    )
    # One metric gives many values: their bounds stand in the spec by name, not in the metric.
    return config_pb2.EvalConfig(
        # Both need a name, and TFMA takes the baseline's away again where there is none.
        model_specs=[
            config_pb2.ModelSpec(
                name=name, signature_name="serving_tf_examples", is_baseline=name == BASELINE, **keys
            )
            for name in (CANDIDATE, BASELINE)
        ],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[metric],
                per_slice_thresholds=gate.thresholds(config, known),
            )
        ],
        slicing_specs=slices,
    )


@dataclasses.dataclass(frozen=True)
class CommonClasses:
    """How candidate and baseline do on the classes that both know, where they know different ones.

    Attributes:
        class_names: These classes, in the order of the candidate's.
        test_images: Images that were judged: of a classifier those of these classes, of a detector all.
        metrics: The candidate's value by metric name, of the metrics that can be bound.
        baseline: The baseline's.
    """

    class_names: list[str]
    test_images: int
    metrics: dict[str, float]
    baseline: dict[str, float]

    def __str__(self) -> str:
        count = len(self.class_names)
        classes = "class" if count == 1 else "classes"
        return f"the {count} common {classes} ({shorten(self.class_names)}; {self.test_images:,} test images)"


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """An Evaluator's results.

    Attributes:
        metrics: Overall value by metric name; without those that there was nothing to measure on.
        per_class: By class index, 0 for the first of the schema's: precision, recall, f1, auc; of detection
            map, map_50, map_75, ar_100; None where nothing was there to divide by.
        blessed: Whether every threshold was met.
        failures: One sentence for every threshold that was missed.
        baseline: Overall value of the baseline by metric name; empty where there is none, and where it knows
            other classes.
        warnings: One sentence for everything else to be known before the model is trusted.
        example_count: Images that were judged.
        common: The comparison with a baseline that knows other classes; None without one.
    """

    metrics: dict[str, float]
    per_class: dict[int, dict[str, float | None]]
    blessed: bool
    failures: list[str]
    baseline: dict[str, float] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)
    example_count: int = 0
    common: CommonClasses | None = None


@dataclasses.dataclass(frozen=True)
class Plots:
    """An Evaluator's plots, of the candidate on the whole split.

    Attributes:
        confusion: Images by class index: the true one, and the most probable one (-1: no probability was a
            number). Pairs that do not occur are left out.
        roc: Share of false positives, share of true positives, and the least probability that counts as
            positive, which falls from point to point; see
            `components.tasks.classification.metrics.Tally.roc`. Empty where it was not computed, or the
            images are all of one class.
    """

    confusion: dict[tuple[int, int], int]
    roc: list[tuple[float, float, float]]


def _number(value: Any) -> float | None:
    return value.double_value.value if value.WhichOneof("type") == "double_value" else None


def read_evaluation(folder: str) -> Evaluation:
    """Reads the `evaluation` artifact that Evaluator wrote to `folder`."""
    overall: dict[str, float] = {}
    baseline: dict[str, float] = {}
    per_class: dict[int, dict[str, float | None]] = {}
    common_names: list[str] = []
    for by_slice in tfma.load_metrics(folder):
        if by_slice.slice_key.single_slice_keys:
            continue
        for item in by_slice.metric_keys_and_values:
            number = _number(item.value)
            key = item.key
            if key.name == COMMON_NAMES:
                common_names = json.loads(item.value.bytes_value)
            if number is None or key.is_diff:
                continue
            is_number = not math.isnan(number)  # there is no area with one class alone
            if key.HasField("sub_key"):
                if key.model_name != BASELINE and key.name in _OF_ANY_CLASS:
                    of_class = per_class.setdefault(key.sub_key.class_id.value, {})
                    of_class[key.name] = number if is_number else None
            elif is_number:
                (baseline if key.model_name == BASELINE else overall)[key.name] = number
    metrics = {name: overall[name] for name in REPORTED if name in overall}
    task = features.CLASSIFICATION if "accuracy" in metrics else features.DETECTION
    common = _common(common_names, task, overall, baseline)
    validation = tfma.load_validation_result(folder)
    return Evaluation(
        metrics,
        dict(sorted(per_class.items())),
        validation.validation_ok,
        _failures(validation, task, metrics, common),
        {name: baseline[name] for name in REPORTED if name in baseline},
        list(gate.warnings(task, overall)),
        int(overall.get(IMAGES, 0)),
        common,
    )


def _common(
    names: list[str], task: str, overall: dict[str, float], baseline: dict[str, float]
) -> CommonClasses | None:
    if not names:
        return None
    keys = {name: f"{gate.COMMON}{name}" for name in metric_names(len(names), task)}
    ours, theirs = (
        {name: values[key] for name, key in keys.items() if key in values} for values in (overall, baseline)
    )
    return CommonClasses(names, int(overall[f"{gate.COMMON}{IMAGES}"]), ours, theirs)


def read_plots(folder: str) -> Plots:
    """Reads the plots of the `evaluation` artifact that Evaluator wrote to `folder`."""
    confusion: dict[tuple[int, int], int] = {}
    roc: list[tuple[float, float, float]] = []
    for by_slice in tfma.load_plots(folder):
        if by_slice.slice_key.single_slice_keys:
            continue
        for item in by_slice.plot_keys_and_values:
            if item.key.model_name == BASELINE:
                continue
            if item.key.name == CONFUSION_MATRIX:
                (matrix,) = item.value.multi_class_confusion_matrix_at_thresholds.matrices
                for entry in matrix.entries:
                    pair = entry.actual_class_id, entry.predicted_class_id
                    confusion[pair] = round(entry.num_weighted_examples)
            elif item.key.name == ROC:
                for point in item.value.confusion_matrix_at_thresholds.matrices:
                    wrong = point.false_positives / (point.false_positives + point.true_negatives)
                    right = point.true_positives / (point.true_positives + point.false_negatives)
                    roc.append((wrong, right, point.threshold))
    return Plots(confusion, roc)


def _failures(
    validation: Any, task: str, metrics: dict[str, float], common: CommonClasses | None
) -> list[str]:
    sentences = [
        gate.failure_sentence(
            failure.metric_key.name,
            _number(failure.metric_value),
            failure.metric_key.is_diff,
            failure.metric_threshold,
            task,
            metrics,
            str(common or ""),
        )
        for by_slice in validation.metric_validations_per_slice
        for failure in by_slice.failures
    ]
    if not validation.validation_ok and not sentences:
        sentences.append("no threshold could be checked: is the test split empty?")
    return sentences
