"""Metrics of multilabel classification from counts. Imports no TensorFlow.

A `Tally` counts batches of true classes, predicted classes and probabilities. Tallies merge: in any order, on
any number of workers, the metrics are the same to the last bit. A tally has counts only, so its size is
bounded for any number of images.

The rules:

- A class is predicted for an image if its probability reaches the threshold of the class.
- An image whose probabilities are not all finite numbers counts as an image on which every class is wrong.
  Then `loss` has no value, and rankings have the image last among those of a class, first among the others.
- `precision`, `recall` and `f1` of a class are None if there is nothing to divide by: precision of a class
  that is never predicted, recall of a class without an image, f1 of a class with neither.
- `average_precision` of a class is the mean of the precisions at the probabilities of its images, as
  scikit-learn's; images of equal probability count together. None for a class without an image.
- `auc` of a class is the area under its ROC curve, where equal probabilities count half. None for a class
  without an image, or that all images have.
- `mean_average_precision` and the overall `auc` are the means over the classes that have one.
- `macro_f1` is the mean over the classes with an image or a prediction, as scikit-learn's
  `f1_score(average="macro", zero_division=nan)`. `macro_precision` and `macro_recall` are means over the same
  classes, None counted as 0.
- `micro_` counts every class of every image as one decision.
- `subset_accuracy` is the share of images whose predicted classes are exactly the true ones, scikit-learn's
  `accuracy_score`. `hamming_loss` is the share of wrong decisions.
- `loss` is the mean binary cross-entropy of all decisions in nats, probabilities clipped to 1e-7 .. 1 - 1e-7.
- `min_class_` is the lowest value of a class with an image.
- `label_cardinality` is the mean number of classes of an image, `predicted_cardinality` that of predicted
  ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from components.base.arrays import Array
from components.evaluator.probability_levels import CHUNK, Levels
from components.tasks.multilabel import TASK

# Keras' backend.epsilon().
EPSILON = 1e-7
# Units of a nat, in which the loss is summed.
LOSS_UNITS = 2**40


def list_metric_names(num_classes: int) -> tuple[str, ...]:
    """Return the overall metrics that can be bound, which do not depend on the number of classes."""
    return TASK.metrics


def find_losses(truth: Array, probabilities: Array) -> Array:
    """Return the binary cross-entropy of each decision, float64 [N, classes]."""
    clipped = np.clip(probabilities.astype(np.float64), EPSILON, 1.0 - EPSILON)
    return np.asarray(-np.log(np.where(truth, clipped, 1.0 - clipped)))


class Tally:
    """Counts of a model's answers to any number of images.

    Args:
        num_classes: The number of classes.
        most_levels: See `components.evaluator.probability_levels.Levels`.
    """

    def __init__(self, num_classes: int, most_levels: int | None = None):
        self.num_classes = num_classes
        self.count = 0
        self.exact = 0
        self.not_numbers = 0
        self.loss_units = 0
        # Images, predictions and right predictions of each class.
        self.images, self.predicted, self.right = (np.zeros(num_classes, np.int64) for _ in range(3))
        self.levels = Levels(num_classes, most_levels)

    def add(self, truth: Array, predicted: Array, probabilities: Array) -> None:
        """Count a batch.

        Args:
            truth: Whether an image has a class, bool [N, classes].
            predicted: Whether the class is predicted, likewise.
            probabilities: float [N, classes].

        Raises:
            ValueError: The shapes do not fit.
        """
        truth, predicted = np.asarray(truth, bool), np.asarray(predicted, bool)
        probabilities = np.asarray(probabilities)
        for what, values in (("labels", truth), ("predicted", predicted), ("probabilities", probabilities)):
            if values.shape != (len(truth), self.num_classes):
                raise ValueError(
                    f"expected {what} of {len(truth)} images and {self.num_classes} classes, got "
                    f"{' x '.join(map(str, values.shape))}"
                )
        rows = max(1, CHUNK // self.num_classes)
        for start in range(0, len(truth), rows):
            part = slice(start, start + rows)
            self._add(truth[part], predicted[part], probabilities[part])

    def _add(self, truth: Array, predicted: Array, probabilities: Array) -> None:
        are_numbers = np.isfinite(probabilities).all(axis=1)
        predicted = judge_predicted(truth, predicted, are_numbers)
        self.count += len(truth)
        self.not_numbers += int((~are_numbers).sum())
        self.exact += int((truth == predicted).all(axis=1).sum())
        self.images += truth.sum(axis=0)
        self.predicted += predicted.sum(axis=0)
        self.right += (truth & predicted).sum(axis=0)
        self.levels.add(truth, probabilities, are_numbers)
        nats = find_losses(truth[are_numbers], probabilities[are_numbers])
        # An int64 holds the sum of an image, but not that of 2^20 decisions above 8 nats.
        self.loss_units += sum(np.rint(nats * LOSS_UNITS).astype(np.int64).sum(axis=1).tolist())

    def merge(self, other: Tally) -> None:
        """Add the counts of another tally of the same classes."""
        for name in ("count", "exact", "not_numbers", "loss_units", "images", "predicted", "right"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.levels.merge(other.levels)

    def compact(self) -> None:
        """Make the tally small enough to send."""
        self.levels.compact()

    def find_areas(self) -> list[tuple[float, int, int]]:
        """Return area under the ROC curve, images and other images of each class that has both."""
        found = []
        for label, images in enumerate(self.images.tolist()):
            area = self.levels.find_area(label)
            if area is not None:
                found.append((area, images, self.count - images))
        return found


def judge_predicted(truth: Array, predicted: Array, are_numbers: Array) -> Array:
    """Return the predictions that count, bool [N, classes]: all wrong where probabilities are no numbers."""
    return np.where(are_numbers[:, None], predicted, ~truth)


def measure(tally: Tally) -> tuple[dict[str, float], list[dict[str, float | None]]]:
    """Return all metrics of a tally with at least one image; see the module's docstring.

    Returns:
        The overall metrics by name, nan for a metric without a value, and the metrics of each class.
    """
    count, decisions = tally.count, tally.count * tally.num_classes
    rows = list(zip(tally.images.tolist(), tally.predicted.tolist(), tally.right.tolist(), strict=True))
    labels, answers, right = (sum(column) for column in zip(*rows, strict=True))
    areas = [tally.levels.find_area(label) for label in range(tally.num_classes)]
    precisions = [tally.levels.find_average_precision(label) for label in range(tally.num_classes)]
    seen = [(n, p, r) for n, p, r in rows if n or p]
    ranked = [value for value in precisions if value is not None]
    overall = {
        "example_count": float(count),
        "not_number_count": float(tally.not_numbers),
        "mean_average_precision": _mean(ranked),
        "auc": _mean(area for area in areas if area is not None),
        "subset_accuracy": tally.exact / count,
        "hamming_loss": (labels + answers - 2 * right) / decisions,
        "loss": math.nan if tally.not_numbers else tally.loss_units / LOSS_UNITS / decisions,
        "macro_precision": _mean_ratio((r, p) for _, p, r in seen),
        "macro_recall": _mean_ratio((r, n) for n, _, r in seen),
        "macro_f1": _mean_ratio((2 * r, n + p) for n, p, r in seen),
        "micro_precision": right / answers if answers else 0.0,
        "micro_recall": right / labels if labels else 0.0,
        "micro_f1": 2 * right / (labels + answers) if labels + answers else 0.0,
        "min_class_f1": min((2 * r / (n + p) for n, p, r in rows if n), default=math.nan),
        "min_class_average_precision": min(ranked, default=math.nan),
        "label_cardinality": labels / count,
        "predicted_cardinality": answers / count,
    }
    per_class: list[dict[str, float | None]] = [
        {
            "precision": r / p if p else None,
            "recall": r / n if n else None,
            "f1": 2 * r / (n + p) if n + p else None,
            "average_precision": precision,
            "auc": area,
        }
        for (n, p, r), precision, area in zip(rows, precisions, areas, strict=True)
    ]
    return overall, per_class


def _mean(values: Iterable[float]) -> float:
    there = list(values)
    return math.fsum(there) / len(there) if there else math.nan


def _mean_ratio(ratios: Iterable[tuple[int, int]]) -> float:
    """Return the mean of ratios, rounded once; 0 for one with nothing to divide by."""
    there = [Fraction(part, whole) if whole else Fraction(0) for part, whole in ratios]
    return float(sum(there, Fraction(0)) / len(there)) if there else math.nan
