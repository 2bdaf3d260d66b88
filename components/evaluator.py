"""Evaluator: what TFMA measures on the test split, the bounds it sets, and how its results are read.

Metric names, as `evaluation.thresholds` and the results use them, of classification:

    accuracy         share of images whose most probable class is right
    loss             mean cross-entropy, nats
    auc              area under the ROC curve, one class against the rest, mean over the classes that occur
    top_5_accuracy   share of images whose class is among the five most probable (from six classes up)

Per class there are precision, recall and f1 of the most probable class. With `slice_by_class` there are
also the overall ones by slice of true class; each slice counts every metric anew (MNIST: 74 s instead of 42).

Of detection there are those of components.detection.coco_eval, overall and by class; `map`, `map_50` and
`map_75` can be bound.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.config import METRICS, EvaluationConfig
from components.detection.tfma_metric import CocoMetrics
from components.errors import UsageError
from components.metrics import ROC, MeanAuc
from schemas import features

CANDIDATE = "candidate"
BASELINE = "baseline"
CONFUSION_MATRIX = "confusion_matrix"
LOWER_IS_BETTER = ("loss",)
# Slicing by class costs classes x classes; beyond so many, the per-class metrics must do.
MAX_SLICED_CLASSES = 50


# Of the results, in the order in which they are told.
REPORTED = (
    *METRICS["classification"],
    *METRICS["detection"],
    "map_small",
    "map_medium",
    "map_large",
    "ar_1",
    "ar_10",
    "ar_100",
)
PER_CLASS = {
    "classification": ("precision", "recall", "f1"),
    "detection": ("map", "map_50", "map_75", "ar_100"),
}


def metric_names(num_classes: int, task: str = "classification") -> tuple[str, ...]:
    """The overall metrics of a data set with so many classes that can be bound."""
    names = METRICS[task]
    return names[:-1] if task == "classification" and num_classes <= 5 else names


def _thresholds(name: str, config: EvaluationConfig) -> list[config_pb2.PerSliceMetricThreshold]:
    """The bounds of a metric on the whole split; a plain `threshold` would bind every class's slice too."""
    if name not in config.thresholds and name not in config.max_regression:
        return []
    threshold = config_pb2.MetricThreshold()
    lower_is_better = name in LOWER_IS_BETTER
    if name in config.thresholds:
        bound = {"upper_bound" if lower_is_better else "lower_bound": {"value": config.thresholds[name]}}
        threshold.value_threshold.CopyFrom(config_pb2.GenericValueThreshold(**bound))
    if name in config.max_regression:
        allowed = config.max_regression[name]
        threshold.change_threshold.CopyFrom(
            config_pb2.GenericChangeThreshold(
                direction=(
                    config_pb2.MetricDirection.LOWER_IS_BETTER
                    if lower_is_better
                    else config_pb2.MetricDirection.HIGHER_IS_BETTER
                ),
                absolute={"value": allowed if lower_is_better else -allowed},
            )
        )
    return [config_pb2.PerSliceMetricThreshold(slicing_specs=[config_pb2.SlicingSpec()], threshold=threshold)]


def eval_config(
    config: EvaluationConfig, class_names: Sequence[str], task: str = "classification"
) -> config_pb2.EvalConfig:
    """TFMA's configuration: metrics, thresholds, slices, through `serving_tf_examples`.

    Args:
        config: The recipe's `evaluation` part.
        class_names: All classes, in the order of their labels.
        task: The recipe's.

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
    if task == "detection":
        return _detection_config(config, class_names)
    return _classification_config(config, len(class_names))


def _model_specs(**keys: str) -> list[config_pb2.ModelSpec]:
    # Both need a name, and TFMA takes the baseline's away again where there is none.
    return [
        config_pb2.ModelSpec(
            name=name, signature_name="serving_tf_examples", is_baseline=name == BASELINE, **keys
        )
        for name in (CANDIDATE, BASELINE)
    ]


def _detection_config(config: EvaluationConfig, class_names: Sequence[str]) -> config_pb2.EvalConfig:
    # One metric gives many values: their bounds stand in the spec by name, not in the metric. Neither labels
    # nor predictions have a key: the metric takes them from the record and from all outputs.
    metric = config_pb2.MetricConfig(
        class_name=CocoMetrics.__name__,
        module=CocoMetrics.__module__,
        config=json.dumps({"class_names": list(class_names)}),
    )
    thresholds = {
        name: config_pb2.PerSliceMetricThresholds(thresholds=bounds)
        for name in METRICS["detection"]
        if (bounds := _thresholds(name, config))
    }
    return config_pb2.EvalConfig(
        model_specs=_model_specs(),
        metrics_specs=[config_pb2.MetricsSpec(metrics=[metric], per_slice_thresholds=thresholds)],
        slicing_specs=[config_pb2.SlicingSpec()],
    )


def _classification_config(config: EvaluationConfig, num_classes: int) -> config_pb2.EvalConfig:
    def metric(class_name: str, name: str, module: str = "", **options: Any) -> config_pb2.MetricConfig:
        options["name"] = name
        return config_pb2.MetricConfig(
            class_name=class_name,
            module=module,
            config=json.dumps(options),
            per_slice_thresholds=_thresholds(name, config),
        )

    overall = [
        metric("SparseCategoricalAccuracy", "accuracy"),
        metric("SparseCategoricalCrossentropy", "loss"),
        metric("MultiClassConfusionMatrixPlot", CONFUSION_MATRIX),
        metric("ExampleCount", "example_count"),
        metric("MeanAuc", "auc", module=MeanAuc.__module__),
    ]
    if num_classes > 5:
        overall.append(metric("SparseTopKCategoricalAccuracy", "top_5_accuracy", k=5))
    classes = list(range(num_classes))
    sliced = config.slice_by_class and num_classes <= MAX_SLICED_CLASSES
    return config_pb2.EvalConfig(
        model_specs=_model_specs(label_key=features.LABEL, prediction_key="probabilities"),
        metrics_specs=[
            config_pb2.MetricsSpec(metrics=overall),
            config_pb2.MetricsSpec(
                # top_k=1: a class counts as predicted where it is the most probable one.
                metrics=[
                    metric("Precision", "precision", top_k=1),
                    metric("Recall", "recall", top_k=1),
                    metric("F1Score", "f1", top_k=1),
                ],
                binarize=config_pb2.BinarizationOptions(class_ids={"values": classes}),
            ),
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *([config_pb2.SlicingSpec(feature_keys=[features.LABEL_TEXT])] if sliced else []),
        ],
    )


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """An Evaluator's results.

    Attributes:
        metrics: Overall value by metric name; without those that there was nothing to measure on.
        per_class: By class index, 0 for the first of the schema's: precision, recall, f1; of detection map,
            map_50, map_75, ar_100; None where nothing was there to divide by.
        blessed: Whether every threshold was met.
        failures: One sentence for every threshold that was missed.
        baseline: Overall value of the baseline by metric name; empty where there is none.
    """

    metrics: dict[str, float]
    per_class: dict[int, dict[str, float | None]]
    blessed: bool
    failures: list[str]
    baseline: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Plots:
    """An Evaluator's plots, of the candidate on the whole split.

    Attributes:
        confusion: Images by class index: the true one, and the most probable one (-1: no probability was a
            number). Pairs that do not occur are left out.
        roc: Share of false positives, share of true positives, and the least probability that counts as
            positive, which falls from point to point; see `components.metrics.roc_matrices`. Empty where it
            was not computed, or the images are all of one class.
    """

    confusion: dict[tuple[int, int], int]
    roc: list[tuple[float, float, float]]


def _number(value: Any) -> float | None:
    return value.double_value.value if value.WhichOneof("type") == "double_value" else None


def read_evaluation(folder: str) -> Evaluation:
    """Reads the `evaluation` artifact that Evaluator wrote to `folder`."""
    metrics: dict[str, float] = {}
    baseline: dict[str, float] = {}
    per_class: dict[int, dict[str, float | None]] = {}
    for by_slice in tfma.load_metrics(folder):
        if by_slice.slice_key.single_slice_keys:
            continue
        for item in by_slice.metric_keys_and_values:
            number = _number(item.value)
            key = item.key
            if number is None or key.is_diff:
                continue
            if key.model_name == BASELINE:
                if key.name in REPORTED and not key.HasField("sub_key") and not math.isnan(number):
                    baseline[key.name] = number
            elif key.HasField("sub_key") and key.sub_key.HasField("class_id"):
                class_id = key.sub_key.class_id.value
                if any(key.name in names for names in PER_CLASS.values()):
                    per_class.setdefault(class_id, {})[key.name] = None if math.isnan(number) else number
            elif key.name in REPORTED and not math.isnan(number):
                metrics[key.name] = number  # there is no area with one class alone
    validation = tfma.load_validation_result(folder)
    return Evaluation(
        {name: metrics[name] for name in REPORTED if name in metrics},
        dict(sorted(per_class.items())),
        validation.validation_ok,
        _failures(validation),
        {name: baseline[name] for name in REPORTED if name in baseline},
    )


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


def _failures(validation: Any) -> list[str]:
    sentences = []
    for by_slice in validation.metric_validations_per_slice:
        for failure in by_slice.failures:
            name, value = failure.metric_key.name, _number(failure.metric_value)
            shown = "missing" if value is None or math.isnan(value) else f"{value:.4f}"
            if failure.metric_key.is_diff:
                allowed = failure.metric_threshold.change_threshold.absolute.value
                sentences.append(f"{name} changed by {shown} against the baseline, allowed is {allowed:+.4f}")
            else:
                bounds = failure.metric_threshold.value_threshold
                bound = (
                    f"at most {bounds.upper_bound.value:.4f}"
                    if bounds.HasField("upper_bound")
                    else f"at least {bounds.lower_bound.value:.4f}"
                )
                sentences.append(f"{name} is {shown}, must be {bound}")
    if not validation.validation_ok and not sentences:
        sentences.append("no threshold could be checked: is the test split empty?")
    return sentences
