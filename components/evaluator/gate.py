"""The gate: what a model must reach on the test split to be blessed, and the sentences on what it missed.

Bounds are compared in float64. A metric that is a share of counts, or a mean of such shares, is rounded once
from whole numbers (components.metrics), so 18 of 20 images meet a bound of 0.9. A change against the baseline
is a difference of two rounded values, so it may exceed `max_regression` by `ROUNDING`, which is far less than
one image makes in any test split.

A change is the difference between two metrics on the classes that both models know
(components.base.common_classes). Their names are `COMMON` and the metric's name. Where both models know the
same classes, their values are the metric's own.

Besides, a model must do better than a trivial one (`evaluation.refuse_trivial`), as `constant_verdict` and
`empty_verdict` judge it: where the images suffice to tell that it does not, it is refused; where they do not
suffice, it is blessed with a warning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tensorflow_model_analysis.proto import config_pb2

from components.evaluator.config import EvaluationConfig

# The metric that tells whether the model is better than a trivial one, and its values.
BEATS_TRIVIAL = "beats_trivial"
YES, UNKNOWN, NO = 1.0, 0.5, 0.0
LOWER_IS_BETTER = ("loss",)
# What names of metrics over the classes that candidate and baseline both know begin with.
COMMON = "common_classes/"
# Of a difference of two metrics, each rounded to float64.
ROUNDING = 1e-12
# One-sided 99 % of the normal distribution.
_SURE = 2.326
# A model that finds four of five images misses this many in less than 1 of 100 test splits.
_ENOUGH_OTHERS = 3
# A detector that finds every second object misses this many in less than 1 of 100 test splits.
_ENOUGH_OBJECTS = 7
_NAMES = {
    "classification": "one that gives the same class for every image",
    "detection": "one that finds nothing",
}


def constant_verdict(counts: Sequence[tuple[int, int, int]]) -> float:
    """Tells whether predictions are better than one class for every image, by balanced accuracy.

    The mean recall of K classes is 1 / K for any constant answer, and on average for any answers that have
    nothing to do with the images. The verdict is YES where the model's is above that by more than the same
    answers, given to the images in random order, reach in one of 100 cases (by the exact mean and variance
    over all orders). Otherwise it is NO in two cases: where the answer is the same for every image, and at
    least `_ENOUGH_OTHERS` images are of other classes; and where the images suffice to say that the model is
    less than half way from 1 / K to 1, since even the upper end of the one-sided 99 % confidence interval,
    with the largest variance that it can have, lies below. Otherwise it is UNKNOWN.

    Args:
        counts: Images, predicted, rightly predicted of each class.
    """
    present = [row for row in counts if row[0]]
    classes, total = len(present), sum(images for images, _, _ in present)
    if classes < 2:
        return UNKNOWN
    recall = sum(right / images for images, _, right in present) / classes
    answered = sum(predicted for _, predicted, _ in present)
    expected = answered / total / classes
    # The variance of a sum over a random permutation is that of the matrix of its terms, without the means of
    # its rows and columns, over n - 1. A term is 1 / (classes x images of the class) where answer and class
    # agree. In units of 1 / classes squared:
    squares = sum(predicted / images for images, predicted, _ in present)
    columns = sum(predicted**2 / images for images, predicted, _ in present) / total
    variance = (squares - answered / total - columns + (answered / total) ** 2) / (total - 1) / classes**2
    above = recall - expected
    if above > 1e-9 and above >= _SURE * math.sqrt(max(variance, 0.0)):
        return YES
    if sum(predicted > 0 for _, predicted, _ in counts) <= 1:
        others = total - sum(images for images, predicted, _ in counts if predicted)
        return NO if others >= _ENOUGH_OTHERS else UNKNOWN
    margin = _SURE * 0.5 * math.sqrt(sum(1 / images for images, _, _ in present)) / classes
    return NO if recall + margin < (1 / classes + 1) / 2 else UNKNOWN


def empty_verdict(objects: int, found_any: bool) -> float:
    """Tells whether a detector is better than one that finds nothing.

    Args:
        objects: Those to be found, without difficult ones.
        found_any: Whether any of them was found, at an IoU of 0.5.
    """
    if found_any:
        return YES
    return NO if objects >= _ENOUGH_OBJECTS else UNKNOWN


def thresholds(
    config: EvaluationConfig, names: Iterable[str]
) -> dict[str, config_pb2.PerSliceMetricThresholds]:
    """Returns the bounds of those metrics that have any, by the name that TFMA knows the metric by.

    They bind the whole split: a plain `threshold` would bind every class' slice too.

    Args:
        config: The recipe's `evaluation` part.
        names: Metrics that can be bound.
    """
    bounds: dict[str, config_pb2.MetricThreshold] = {}
    if config.refuse_trivial:
        bounds[BEATS_TRIVIAL] = config_pb2.MetricThreshold()
        bounds[BEATS_TRIVIAL].value_threshold.lower_bound.value = (NO + UNKNOWN) / 2
    for name in names:
        lower_is_better = name in LOWER_IS_BETTER
        if name in config.thresholds:
            bounds[name] = config_pb2.MetricThreshold()
            held = bounds[name].value_threshold
            (held.upper_bound if lower_is_better else held.lower_bound).value = config.thresholds[name]
        if name in config.max_regression:
            allowed = config.max_regression[name] + ROUNDING
            bounds[f"{COMMON}{name}"] = config_pb2.MetricThreshold()
            change = bounds[f"{COMMON}{name}"].change_threshold
            change.absolute.value = allowed if lower_is_better else -allowed
            change.direction = (
                config_pb2.MetricDirection.LOWER_IS_BETTER
                if lower_is_better
                else config_pb2.MetricDirection.HIGHER_IS_BETTER
            )
    return {
        name: config_pb2.PerSliceMetricThresholds(
            thresholds=[
                config_pb2.PerSliceMetricThreshold(slicing_specs=[config_pb2.SlicingSpec()], threshold=bound)
            ]
        )
        for name, bound in bounds.items()
    }


def shortest(value: float) -> str:
    """Returns a bound as a person wrote it: 0.9, not 0.9000 and not 0.9000000000010."""
    return f"{round(value, 10):.12g}"


def distinct(value: float, bound: float) -> str:
    """Returns a value with four decimals, or as many more as it takes to stay on its side of the bound."""
    for digits in range(4, 17):
        text = f"{value:.{digits}f}"
        if (float(text) > bound) == (value > bound) and (float(text) < bound) == (value < bound):
            return text
    return repr(value)


def failure_sentence(
    name: str,
    value: float | None,
    is_change: bool,
    bounds: Any,
    task: str,
    metrics: dict[str, float],
    compared_on: str = "",
) -> str:
    """Says what a model missed.

    Args:
        name: The metric.
        value: Its value, or its change against the baseline; None or nan where there is none.
        is_change: Which of both.
        bounds: The `MetricThreshold` that was missed.
        task: The recipe's.
        metrics: The model's overall metrics.
        compared_on: The classes that a change is of, where not all; empty otherwise.
    """
    if name == BEATS_TRIVIAL:
        return (
            f"not better than {_NAMES[task]}: {_evidence(task, metrics)}"
            " (evaluation.refuse_trivial: false lets it pass)"
        )
    there = value is not None and not math.isnan(value)
    if is_change:
        allowed = bounds.change_threshold.absolute.value
        shown = distinct(value, allowed) if value is not None and there else "missing"
        where = f" on {compared_on}" if compared_on else ""
        name = name.removeprefix(COMMON)
        return f"{name}{where} changed by {shown} against the baseline, allowed is {_signed(allowed)}"
    held = bounds.value_threshold
    is_upper = held.HasField("upper_bound")
    bound = held.upper_bound.value if is_upper else held.lower_bound.value
    shown = distinct(value, bound) if value is not None and there else "missing"
    return f"{name} is {shown}, must be {'at most' if is_upper else 'at least'} {shortest(bound)}"


def _signed(value: float) -> str:
    text = shortest(value)
    return text if text.startswith("-") else f"+{text}"


def warnings(task: str, metrics: dict[str, float]) -> Iterator[str]:
    """Yields what is to be known of an evaluation though it refuses nothing.

    Args:
        task: The recipe's.
        metrics: All overall metrics.
    """
    images = metrics.get("example_count", 0.0)
    if metrics.get(BEATS_TRIVIAL) == UNKNOWN:
        yield (
            f"the test split ({images:,.0f} images) is too small to tell whether the model is better than "
            f"{_NAMES[task]}: {_evidence(task, metrics)}"
        )
    if metrics.get("not_number_count"):
        yield (
            f"{metrics['not_number_count']:,.0f} of {images:,.0f} test images: the model's probabilities are "
            "not all finite numbers; each counts as wrong, and there is no loss; train again with a lower "
            "training.learning_rate"
        )


def _evidence(task: str, metrics: dict[str, float]) -> str:
    if task == "detection":
        return f"map_50 is {metrics.get('map_50', 0.0):.4f}"
    balanced, accuracy, majority = (
        f"{metrics.get(name, math.nan):.4f}"
        for name in ("balanced_accuracy", "accuracy", "majority_accuracy")
    )
    return (
        f"balanced_accuracy is {balanced}, and accuracy {accuracy}, where always the most frequent class "
        f"reaches {majority}"
    )
