"""Metrics of classification from counts. Imports no TensorFlow.

A `Tally` counts batches of labels and probabilities. Tallies merge: in any order, on any number of workers,
the metrics are the same to the last bit. A tally has counts only, so its size is bounded for any number of
images.

A share of counts, or a mean of such shares, is computed in whole numbers and rounded once, to the nearest
float64. `loss` is summed in whole units of 2^-40 nats.

The rules:

- The predicted class is the one with the highest probability, and the first one of several equal ones.
- An image whose probabilities are not all finite numbers counts as an image, and is never right. Then `loss`
  has no value, and `auc` ranks the image last among those of its class, first among the others.
- `accuracy` is the share of images whose predicted class is right.
- `loss` is the mean cross-entropy in nats. Probabilities are clipped to 1e-7 .. 1 - 1e-7 and divided by their
  sum, as Keras does.
- `top_5_accuracy` counts an image if fewer than five classes have a higher probability than its own, as Keras
  does. It exists from six classes up.
- `precision`, `recall` and `f1` of a class are None if there is nothing to divide by: precision of a class
  that is never predicted, recall of a class without an image, f1 of a class with neither.
- `macro_` is the mean over the classes that have an image or that were predicted, `weighted_` the mean
  weighted by the classes' images; None counts as 0. Both are those of scikit-learn's
  `precision_recall_fscore_support(labels, predicted, average=..., zero_division=0)`.
- `balanced_accuracy` is the mean recall of the classes with an image.
- `min_class_` is the lowest value of a class with an image; a precision that is None counts as 0. A class
  without an image is not judged.
- `auc` is the area under the ROC curve of a class against the rest, where equal probabilities count half. The
  overall one is the mean over the classes that have both images and other images.
- `majority_accuracy` is the accuracy of a model that always gives the class with the most images. It is only
  reported.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from components.base.arrays import Array
from components.evaluator.probability_levels import CHUNK, Levels, probabilities_of
from components.tasks.classification import TASK

# Keras' backend.epsilon().
EPSILON = 1e-7
# Units of a nat, in which the loss is summed.
LOSS_UNITS = 2**40
ROC_POINTS = 100


def list_metric_names(num_classes: int) -> tuple[str, ...]:
    """Return the overall metrics of a data set with this number of classes that can be bound."""
    return tuple(name for name in TASK.metrics if name != "top_5_accuracy" or num_classes > 5)


def predict_classes(probabilities: Array) -> Array:
    """Return the predicted class of each row, -1 for a row that has other values than numbers: int [N]."""
    are_numbers = np.isfinite(probabilities).all(axis=1)
    return np.where(are_numbers, np.argmax(probabilities, axis=1), -1)


class Tally:
    """Counts of a model's answers to any number of images.

    Args:
        num_classes: Labels are 0 to this - 1.
        with_curves: Whether `auc` and the ROC curve are computed, which is most of the work.
        most_levels: See `components.evaluator.probability_levels.Levels`.
    """

    def __init__(self, num_classes: int, with_curves: bool = True, most_levels: int | None = None):
        self.num_classes = num_classes
        self.loss_units = 0
        self.top_5 = 0
        self.not_numbers = 0
        self._pairs: Counter[int] = Counter()
        self._levels = Levels(num_classes, most_levels) if with_curves else None

    def add(self, labels: Array, probabilities: Array) -> None:
        """Count a batch.

        Args:
            labels: int [N].
            probabilities: float [N, classes].

        Raises:
            ValueError: The shapes do not fit, or a label is out of range.
        """
        labels, probabilities = np.asarray(labels, np.int64), np.asarray(probabilities)
        if probabilities.shape != (len(labels), self.num_classes):
            raise ValueError(
                f"expected probabilities of {len(labels)} images and {self.num_classes} classes, got "
                f"{' x '.join(map(str, probabilities.shape))}"
            )
        if labels.size and not 0 <= labels.min() <= labels.max() < self.num_classes:
            raise ValueError(
                f"expected labels 0 to {self.num_classes - 1}, got {labels.min()} to {labels.max()}"
            )
        rows = max(1, CHUNK // self.num_classes)
        for start in range(0, len(labels), rows):
            self._add(labels[start : start + rows], probabilities[start : start + rows])

    def _add(self, labels: Array, probabilities: Array) -> None:
        predicted = predict_classes(probabilities)
        are_numbers = predicted >= 0
        pairs, counts = np.unique(labels * (self.num_classes + 1) + predicted + 1, return_counts=True)
        self._pairs.update(dict(zip(pairs.tolist(), counts.tolist(), strict=True)))
        self.not_numbers += int((~are_numbers).sum())
        if self._levels is not None:
            is_own = labels[:, None] == np.arange(self.num_classes)
            self._levels.add(is_own, probabilities, are_numbers)
        labels, probabilities = labels[are_numbers], probabilities[are_numbers].astype(np.float64)
        own = probabilities[np.arange(len(labels)), labels][:, None]
        self.top_5 += int(((probabilities > own).sum(axis=1) < 5).sum())
        sums = np.clip(probabilities, EPSILON, 1.0 - EPSILON).sum(axis=1)
        nats = np.log(sums) - np.log(np.clip(own[:, 0], EPSILON, 1.0 - EPSILON))
        self.loss_units += int(np.rint(nats * LOSS_UNITS).astype(np.int64).sum())

    def merge(self, other: Tally) -> None:
        """Add the counts of another tally of the same classes."""
        self.loss_units += other.loss_units
        self.top_5 += other.top_5
        self.not_numbers += other.not_numbers
        self._pairs.update(other._pairs)
        if self._levels is not None and other._levels is not None:
            self._levels.merge(other._levels)

    def compact(self) -> None:
        """Make the tally small enough to send."""
        if self._levels is not None:
            self._levels.compact()

    @property
    def with_curves(self) -> bool:
        """True if `auc` and the ROC curve are known."""
        return self._levels is not None

    @property
    def count(self) -> int:
        """Number of images."""
        return sum(self._pairs.values())

    def confusion(self) -> dict[tuple[int, int], int]:
        """Return images by true and predicted class, -1 for no prediction; sorted, without zeros."""
        width = self.num_classes + 1
        return {(pair // width, pair % width - 1): count for pair, count in sorted(self._pairs.items())}

    def auc_of_class(self, label: int) -> float | None:
        """Return the area under the ROC curve of a class; None if it has no image, or all of them."""
        return None if self._levels is None else self._levels.find_area(label)

    def roc(self) -> list[tuple[float, int, int, int, int]]:
        """Return the ROC curve: counts at thresholds on the probability, highest first.

        With two classes it is the curve of the second one. With more it is the micro-average: every
        probability of every class is a decision of its own, right if the class is the image's.

        Returns:
            Threshold, true positives, false positives, true negatives and false negatives of at most
            `ROC_POINTS` points, evenly along the curve, including its ends; none if all images are on one
            side.
        """
        if self._levels is None:
            return []
        (levels, counts), (other_levels, other_counts) = self._levels.split(
            1 if self.num_classes == 2 else None
        )
        if not counts.size or not other_counts.size:
            return []
        thresholds = np.unique(np.concatenate([levels, other_levels]))[::-1]
        right, wrong = (
            np.concatenate([[0], each.sum() - np.concatenate([[0], np.cumsum(each)])[places]])
            for each, places in (
                (counts, np.searchsorted(levels, thresholds)),
                (other_counts, np.searchsorted(other_levels, thresholds)),
            )
        )
        way = right / right[-1] + wrong / wrong[-1]
        # Begin with a threshold above all probabilities, at which nothing counts as positive.
        edges = np.concatenate([[1.0001], probabilities_of(thresholds << self._levels.shift)])
        return [
            (
                float(edges[i]),
                int(right[i]),
                int(wrong[i]),
                int(wrong[-1] - wrong[i]),
                int(right[-1] - right[i]),
            )
            for i in np.unique(np.searchsorted(way, np.linspace(0.0, way[-1], ROC_POINTS)))
        ]


@dataclasses.dataclass(frozen=True)
class ByClass:
    """Images, predictions and right predictions of each class, int64 [classes]."""

    images: Array
    predicted: Array
    right: Array

    @classmethod
    def of(cls, confusion: dict[tuple[int, int], int], num_classes: int) -> ByClass:
        """Count a confusion matrix of `Tally.confusion`."""
        images, predicted, right = (np.zeros(num_classes, np.int64) for _ in range(3))
        for (true, answer), count in confusion.items():
            images[true] += count
            if answer >= 0:
                predicted[answer] += count
            if answer == true:
                right[true] += count
        return cls(images, predicted, right)

    def rows(self) -> list[tuple[int, int, int]]:
        """Return images, predictions and right predictions of each class."""
        return list(zip(self.images.tolist(), self.predicted.tolist(), self.right.tolist(), strict=True))


def measure(tally: Tally) -> tuple[dict[str, float], list[dict[str, float | None]]]:
    """Return all metrics of a tally with at least one image; see the module's docstring.

    Returns:
        The overall metrics by name, nan for a metric without a value, and the metrics of each class.
    """
    counts = ByClass.of(tally.confusion(), tally.num_classes)
    rows, images = counts.rows(), tally.count
    areas = [tally.auc_of_class(label) for label in range(tally.num_classes)]
    there = [area for area in areas if area is not None]
    overall = {
        "example_count": float(images),
        "not_number_count": float(tally.not_numbers),
        "accuracy": sum(right for _, _, right in rows) / images,
        "loss": math.nan if tally.not_numbers else tally.loss_units / LOSS_UNITS / images,
        "auc": math.fsum(there) / len(there) if there else math.nan,
        "top_5_accuracy": tally.top_5 / images,
        "majority_accuracy": max(n for n, _, _ in rows) / images,
        "balanced_accuracy": _mean((1, Fraction(right, n)) for n, _, right in rows if n),
    }
    seen = [(n, p, right) for n, p, right in rows if n or p]
    has_images = [n > 0 for n, _, _ in seen]
    shares = {
        "precision": [_ratio(right, p) for _, p, right in seen],
        "recall": [_ratio(right, n) for n, _, right in seen],
        "f1": [_ratio(2 * right, n + p) for n, p, right in seen],
    }
    for name, values in shares.items():
        overall[f"min_class_{name}"] = float(min(itertools.compress(values, has_images)))
        overall[f"macro_{name}"] = _mean((1, value) for value in values)
        overall[f"weighted_{name}"] = _mean(zip((n for n, _, _ in seen), values, strict=True))
    per_class: list[dict[str, float | None]] = [
        {
            "precision": right / p if p else None,
            "recall": right / n if n else None,
            "f1": 2 * right / (n + p) if n + p else None,
            "auc": area,
        }
        for (n, p, right), area in zip(rows, areas, strict=True)
    ]
    return overall, per_class


def _ratio(part: int, whole: int) -> Fraction:
    return Fraction(part, whole) if whole else Fraction(0)


def _mean(weighted: Iterable[tuple[int, Fraction]]) -> float:
    """Return the weighted mean of fractions, rounded once."""
    by_denominator: dict[int, int] = {}
    weights = 0
    for weight, value in weighted:
        weights += weight
        by_denominator[value.denominator] = (
            by_denominator.get(value.denominator, 0) + weight * value.numerator
        )
    if not weights:
        return math.nan
    return float(sum((Fraction(n, d) for d, n in by_denominator.items()), Fraction(0)) / weights)
