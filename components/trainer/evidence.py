"""What a few numbers of a training prove: means and shares with the bounds between which the truth is.

Bounds are three standard errors away: of a thousand healthy trainings, one is beyond.

Sources: Wilson, Probable inference, the law of succession, and statistical inference, 1927; Cohen, A
coefficient of agreement for nominal scales, 1960.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

SIGMAS = 3.0


@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean, and its standard error.

    Attributes:
        value: The mean.
        error: By how much it varies between samples as large.
    """

    value: float
    error: float

    @staticmethod
    def of(values: Sequence[float], largest: float = math.inf) -> Mean:
        """Return the mean of values, each of them counted as `largest` at most."""
        cut = np.minimum(np.asarray(values, np.float64), largest)
        spread = cut.std(ddof=1) if len(cut) > 1 else math.inf
        return Mean(float(cut.mean()), float(spread / math.sqrt(len(cut))))

    @property
    def low(self) -> float:
        """The truth is higher."""
        return self.value - SIGMAS * self.error

    @property
    def high(self) -> float:
        """The truth is lower."""
        return self.value + SIGMAS * self.error

    def is_below(self, other: Mean) -> bool:
        """Return whether this is lower than the other by more than chance."""
        return other.value - self.value > SIGMAS * math.hypot(self.error, other.error)


@dataclasses.dataclass(frozen=True)
class Share:
    """A share of right answers, and the share that is right by chance.

    Attributes:
        value: Share of the examples that were right.
        chance: The share that would be without any knowledge, below 1.
        examples: How many there were.
    """

    value: float
    chance: float
    examples: int

    def is_above_chance(self, sigmas: float = SIGMAS) -> bool:
        """Return whether knowledge shows: the share is higher than chance gives."""
        return self.value - self.chance > sigmas * math.sqrt(self.chance * (1 - self.chance) / self.examples)

    @property
    def least_skill(self) -> float:
        """The least of the way from chance to all right that fits (Cohen's kappa, 1 for all right)."""
        return (self._bound(-SIGMAS) - self.chance) / (1 - self.chance)

    @property
    def largest_skill(self) -> float:
        """The most of that way that fits."""
        return (self._bound(SIGMAS) - self.chance) / (1 - self.chance)

    def _bound(self, sigmas: float) -> float:
        """Return Wilson's bound of the true share."""
        squared = sigmas**2 / self.examples
        half = sigmas * math.sqrt(self.value * (1 - self.value) / self.examples + squared / self.examples / 4)
        return (self.value + squared / 2 + half) / (1 + squared)
