"""Bounds that a model must meet on the test split to be blessed, and the sentences about those it missed.

Bounds are compared in float64. A metric that is a share of counts, or a mean of such shares, is rounded once
from whole numbers, so 18 of 20 images meet a bound of 0.9. A change against the baseline is a difference of
two rounded values, so it may exceed `max_regression` by `ROUNDING`, which is far less than the share of one
image in any test split.

A change is the difference between two metrics on the classes that both models know
(components.base.common_classes). Their names are `COMMON` and the metric's name. If both models know the same
classes, their values are the metric's own.

A model must also be better than a trivial one (`evaluation.refuse_trivial`); the task judges that. A model
that is clearly not better is refused. If there are too few images to tell, it is blessed with a warning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from components.evaluator.config import EvaluationConfig

if TYPE_CHECKING:
    from tensorflow_model_analysis.proto import config_pb2

# The metric that says whether the model is better than a trivial one, and its values.
BEATS_TRIVIAL = "beats_trivial"
YES, UNKNOWN, NO = 1.0, 0.5, 0.0
LOWER_IS_BETTER = ("loss", "hamming_loss")
# Prefix of the metrics over the classes that candidate and baseline both know.
COMMON = "common_classes/"
# The rounding error of a difference of two metrics, each rounded to float64.
ROUNDING = 1e-12


def make_thresholds(
    config: EvaluationConfig, names: Iterable[str]
) -> dict[str, config_pb2.PerSliceMetricThresholds]:
    """Return the bounds of the metrics that have any, by TFMA's name of the metric.

    They are for the whole split: a plain `threshold` would be for the slice of every class too.

    Args:
        config: The recipe's `evaluation` part.
        names: Metrics that can be bound.
    """
    from tensorflow_model_analysis.proto import config_pb2  # brings TensorFlow along

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


def format_bound(value: float) -> str:
    """Return a bound as a user wrote it: 0.9, not 0.9000 and not 0.9000000000010."""
    return f"{round(value, 10):.12g}"


def format_beside(value: float, bound: float) -> str:
    """Return a value with four decimals, or with more if it takes more to stay on its side of the bound."""
    for digits in range(4, 17):
        text = f"{value:.{digits}f}"
        if (float(text) > bound) == (value > bound) and (float(text) < bound) == (value < bound):
            return text
    return repr(value)


def describe_failure(
    name: str, value: float | None, is_change: bool, bounds: Any, trivial: str, compared_on: str = ""
) -> str:
    """Return a sentence about a bound that a model missed.

    Args:
        name: The metric.
        value: Its value, or its change against the baseline; None or nan if there is none.
        is_change: Whether it is the change.
        bounds: The `MetricThreshold` that was missed.
        trivial: The trivial model, and the evidence that the model is not better.
        compared_on: The classes that were compared, if not all; empty otherwise.
    """
    if name == BEATS_TRIVIAL:
        return f"not better than {trivial} (evaluation.refuse_trivial: false lets it pass)"
    there = value is not None and not math.isnan(value)
    if is_change:
        allowed = bounds.change_threshold.absolute.value
        shown = format_beside(value, allowed) if value is not None and there else "missing"
        where = f" on {compared_on}" if compared_on else ""
        name = name.removeprefix(COMMON)
        return f"{name}{where} changed by {shown} against the baseline, allowed is {_signed(allowed)}"
    held = bounds.value_threshold
    is_upper = held.HasField("upper_bound")
    bound = held.upper_bound.value if is_upper else held.lower_bound.value
    shown = format_beside(value, bound) if value is not None and there else "missing"
    return f"{name} is {shown}, must be {'at most' if is_upper else 'at least'} {format_bound(bound)}"


def describe_bounds(thresholds: Iterable[Any]) -> tuple[str, list[float]]:
    """Return the bounds of a metric in words, and as values.

    Args:
        thresholds: Its `PerSliceMetricThreshold`s.
    """
    parts, limits = [], []
    for threshold in (item.threshold for item in thresholds):
        value = threshold.value_threshold
        for key, words in (("lower_bound", "at least"), ("upper_bound", "at most")):
            if value.HasField(key):
                limit = getattr(value, key).value
                parts.append(f"{words} {format_bound(limit)}")
                limits.append(limit)
        if threshold.HasField("change_threshold"):
            allowed = threshold.change_threshold.absolute.value
            parts.append(f"change {'+' if allowed > 0 else ''}{format_bound(allowed)} at worst")
    return ", ".join(parts), limits


def _signed(value: float) -> str:
    text = format_bound(value)
    return text if text.startswith("-") else f"+{text}"
