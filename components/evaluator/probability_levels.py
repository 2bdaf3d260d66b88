"""Counts of probabilities, as fine as the memory for them allows. Imports no TensorFlow."""

from __future__ import annotations

import math

import numpy as np

from components.base.arrays import Array

MOST, MOST_PER_CLASS = 2**20, 2**12
# Probabilities that are sorted at once, and the most that wait for it.
CHUNK = 2**20

# The bits of float32 0.5; the level of a probability above it comes from the bits of its difference to 1.
_HALF = 0x3F000000
_HIGHEST = 2 * _HALF + 2
_LEVEL_BITS = 32
_LEVEL_MASK = 2**_LEVEL_BITS - 1


def levels_of(probabilities: Array) -> Array:
    """Return the rank of each probability among all float32 numbers from 0 to 1.

    On a logarithmic scale such as a logit's, neighbouring levels are as close to each other at 1 as at 0.
    float32 itself resolves 1e-30, but above 0.5 only steps of 6e-8.

    Args:
        probabilities: Any shape; values outside 0 .. 1 are cut to it.

    Returns:
        int64 of the same shape, 1 for 0.0 to `_HIGHEST` - 1 for 1.0; undefined for a nan.
    """
    values = np.clip(np.asarray(probabilities, np.float32), 0.0, 1.0) + np.float32(0.0)  # no -0.0
    is_low = values <= 0.5
    bits = np.where(is_low, values, np.float32(1.0) - values).astype(np.float32).view(np.int32)
    return np.where(is_low, bits, 2 * _HALF - bits).astype(np.int64) + 1


def probabilities_of(levels: Array) -> Array:
    """Return the probability of each level, float64; the inverse of `levels_of`."""
    ranks = np.clip(np.asarray(levels, np.int64) - 1, 0, 2 * _HALF)
    low = np.minimum(ranks, 2 * _HALF - ranks).astype(np.int32).view(np.float32).astype(np.float64)
    return np.where(ranks <= _HALF, low, 1.0 - low)


class Levels:
    """Counts how often each class has each probability, on images of the class and on others.

    If there are more different probabilities than can be kept, all levels lose their last bit, until there
    are few enough. So the result depends on the probabilities that were added, but not on their order.

    Args:
        num_classes: Classes of the model.
        most: Different probabilities of classes that are kept, 16 bytes each; when None `MOST`, and at least
            `MOST_PER_CLASS` per class.
    """

    def __init__(self, num_classes: int, most: int | None = None):
        self.shift = 0  # bits that levels have lost
        self._most = most or max(MOST, MOST_PER_CLASS * num_classes)
        # A key holds class, whether the image is of that class, and the level, from high bits to low.
        self._keys = self._counts = np.zeros(0, np.int64)
        self._waiting: list[tuple[Array, Array]] = []

    def add(self, is_own: Array, probabilities: Array, are_numbers: Array) -> None:
        """Count a batch.

        Args:
            is_own: Whether an image is of a class, bool [N, classes].
            probabilities: float [N, classes].
            are_numbers: bool [N]: the rows that count. Another row is ranked wrongly in every pair.
        """
        classes = np.arange(probabilities.shape[1])
        levels = levels_of(probabilities)
        levels[~are_numbers] = np.where(is_own[~are_numbers], 0, _HIGHEST)
        keys = np.sort((((classes * 2 + is_own) << _LEVEL_BITS) | (levels >> self.shift)).ravel())
        self._wait(*_sum_counts(keys, np.ones(keys.size, np.int64)))

    def merge(self, other: Levels) -> None:
        """Add the counts of another `Levels` with the same classes."""
        other.compact()
        shift = max(self.shift, other.shift)
        self._coarsen(shift - self.shift)
        self._wait(_drop_low_bits(other._keys, shift - other.shift), other._counts)

    def _wait(self, keys: Array, counts: Array) -> None:
        self._waiting.append((keys, counts))
        if sum(each.size for each, _ in self._waiting) > max(CHUNK, self._most):
            self.compact()

    def _coarsen(self, bits: int) -> None:
        self._sort_in()
        self.shift += bits
        self._keys, self._counts = _sum_counts(_drop_low_bits(self._keys, bits), self._counts)

    def _sort_in(self) -> None:
        if self._waiting:
            keys = np.concatenate([self._keys, *(each for each, _ in self._waiting)])
            counts = np.concatenate([self._counts, *(each for _, each in self._waiting)])
            order = np.argsort(keys, kind="stable")  # it merges keys that are already sorted
            self._keys, self._counts = _sum_counts(keys[order], counts[order])
            self._waiting = []

    def compact(self) -> None:
        """Sort the keys that wait, and make levels coarser until few enough are left."""
        self._sort_in()
        while self._keys.size > self._most:
            self._coarsen(1)

    def split(self, label: int | None = None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Return levels, ascending, and their counts, on images of the class and on others.

        Args:
            label: The class; all classes together when None.
        """
        self.compact()
        if label is None:
            keys, counts = self._keys, self._counts
        else:
            first, last = np.searchsorted(self._keys, [label << 33, (label + 1) << 33])
            keys, counts = self._keys[first:last], self._counts[first:last]
        is_own = (keys >> _LEVEL_BITS) & 1 == 1
        sides = []
        for side in (is_own, ~is_own):
            levels = keys[side] & _LEVEL_MASK
            order = np.argsort(levels, kind="stable")
            sides.append(_sum_counts(levels[order], counts[side][order]))
        return sides[0], sides[1]

    def find_area(self, label: int) -> float | None:
        """Return the area under the ROC curve of a class; None if it has no image, or all of them."""
        (levels, counts), (other_levels, other_counts) = self.split(label)
        if not counts.size or not other_counts.size:
            return None
        sums = np.concatenate([[0], np.cumsum(other_counts)])
        # Twice the pairs that are ranked right: images below, and images not above.
        twice = sums[np.searchsorted(other_levels, levels, "left")]
        twice = twice + sums[np.searchsorted(other_levels, levels, "right")]
        return int(counts @ twice) / (2 * int(counts.sum()) * int(sums[-1]))

    def count_above(self, label: int) -> tuple[Array, Array, Array]:
        """Return the levels of a class, highest first, and the images at or above each.

        Returns:
            Levels, images of the class, and other images, int64 [levels] each.
        """
        (levels, counts), (other_levels, other_counts) = self.split(label)
        every = np.unique(np.concatenate([levels, other_levels]))[::-1]
        above = []
        for own_levels, own_counts in ((levels, counts), (other_levels, other_counts)):
            below = np.concatenate([[0], np.cumsum(own_counts)])
            above.append(below[-1] - below[np.searchsorted(own_levels, every, "left")])
        return every, above[0], above[1]

    def find_average_precision(self, label: int) -> float | None:
        """Return the mean of the precisions of a class, by the steps of its recall; None without an image."""
        _, right, wrong = self.count_above(label)
        if not right.size or not right[-1]:
            return None
        steps = np.diff(right, prepend=0)
        there = steps > 0
        precision = right[there] / (right[there] + wrong[there])
        return math.fsum((steps[there] * precision).tolist()) / int(right[-1])


def _drop_low_bits(keys: Array, bits: int) -> Array:
    return (keys & ~_LEVEL_MASK) | ((keys & _LEVEL_MASK) >> bits)


def _sum_counts(keys: Array, counts: Array) -> tuple[Array, Array]:
    """Return sorted keys without repetition, and the sums of their counts."""
    if not keys.size:
        return keys, counts
    begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[begins], np.add.reduceat(counts, begins)
