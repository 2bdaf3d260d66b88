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
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

WILSON, BOOTSTRAP = "wilson", "bootstrap"
# Two-sided 95 % of the normal distribution.
_Z = 1.959963984540054
SEED = 0
RESAMPLES = 1000


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
