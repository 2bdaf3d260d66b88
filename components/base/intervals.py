"""95 % confidence intervals of metrics: how far a metric may be off because the test split is a sample.

A share of images has the interval of Wilson's score [1], which holds for few images and for shares near 0 and
1 too. Other metrics have the percentile bootstrap over images [2]: the 2.5th and 97.5th percentile of the
metric on splits of the same size, drawn from the test split with replacement. Imports no TensorFlow.

[1] E. B. Wilson: Probable inference, the law of succession, and statistical inference. JASA 22, 1927.
[2] B. Efron, R. J. Tibshirani: An Introduction to the Bootstrap. Chapman & Hall, 1993.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

WILSON, BOOTSTRAP = "wilson", "bootstrap"
# Two-sided 95 % of the normal distribution.
_Z = 1.959963984540054
SEED = 0
RESAMPLES = 1000
# Fewer draws say too little about the ends of an interval.
LEAST_RESAMPLES = 100


@dataclasses.dataclass(frozen=True)
class Interval:
    """An interval that holds the metric of all such images with 95 % confidence.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        method: WILSON or BOOTSTRAP.
    """

    low: float
    high: float
    method: str


@dataclasses.dataclass(frozen=True)
class Confidence:
    """The statements of a test split about the metrics of all such images.

    Attributes:
        intervals: 95 % confidence intervals of overall metrics by name.
        recall_intervals: Those of the recall of each class by its index.
        draws: Values of metrics on drawn splits by name, the same splits for every model.
    """

    intervals: dict[str, Interval] = dataclasses.field(default_factory=dict)
    recall_intervals: dict[int, Interval] = dataclasses.field(default_factory=dict)
    draws: dict[str, list[float]] = dataclasses.field(default_factory=dict)


def make_confidence(
    intervals: Mapping[str, Interval | None],
    right: Iterable[int],
    totals: Iterable[int],
    draws: Mapping[str, npt.NDArray[Any]],
) -> Confidence:
    """Return the statements that there are.

    Args:
        intervals: Of overall metrics.
        right: Images of each class that were found.
        totals: Images of each class.
        draws: Values of metrics on drawn splits.
    """
    recalls = [wilson_interval(count, total) for count, total in zip(right, totals, strict=True)]
    return Confidence(
        {name: each for name, each in intervals.items() if each is not None},
        {label: each for label, each in enumerate(recalls) if each is not None},
        {name: values.tolist() for name, values in draws.items()},
    )


def wilson_interval(count: float, total: float) -> Interval | None:
    """Return the interval of a share; None without anything that could be counted."""
    if total <= 0:
        return None
    share, z = count / total, _Z**2 / total
    middle = (share + z / 2) / (1 + z)
    half = _Z / (1 + z) * math.sqrt(share * (1 - share) / total + z / total / 4)
    # Rounding must not exclude the share itself.
    return Interval(max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share)), WILSON)


def bootstrap_interval(values: npt.NDArray[Any]) -> Interval | None:
    """Return the interval of a metric from its values on drawn splits.

    None if too many have no value, or if all have the same: of a model without a mistake the bootstrap knows
    nothing.
    """
    import numpy as np

    there = values[np.isfinite(values)]
    if len(there) < 0.95 * len(values) or not len(there):
        return None
    low, high = (float(end) for end in np.percentile(there, [2.5, 97.5]))
    return Interval(low, high, BOOTSTRAP) if high - low > 1e-12 else None


def to_json(intervals: Mapping[str, Interval | None]) -> dict[str, dict[str, Any]]:
    """Return the intervals that there are, by metric."""
    return {name: dataclasses.asdict(found) for name, found in intervals.items() if found is not None}


def from_json(stored: Mapping[str, Mapping[str, Any]]) -> dict[str, Interval]:
    """Return what `to_json` was given, without the metrics that have none."""
    return {name: Interval(**found) for name, found in stored.items()}
