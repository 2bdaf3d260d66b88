"""Figures of a classifier's evaluation, kept as JSON next to its metrics: what its pages draw.

- The expected calibration error (ECE) [1]: images are put into 15 bins of equal width by the probability of
  their predicted class. ECE is the mean distance between the share of right answers in a bin and its mean
  probability, weighted by the bin's images.
- Curves of receiver operating characteristic and of precision by recall: of the second of two classes, else
  of every class against the rest; for more than `MOST_CURVES` classes, of those with the lowest average
  precision.

Imports no TensorFlow.

[1] C. Guo et al.: On calibration of modern neural networks. ICML 2017.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import TypeAdapter

from components.base import files
from components.base.arrays import Array
from components.base.intervals import Confidence, Interval
from components.tasks.classification.predictions import Predictions

if TYPE_CHECKING:
    from components.tasks.classification.plots import Plots


FILE = "figures.json"
BINS, MOST_CURVES = 15, 12
_POINTS = 80


@dataclasses.dataclass(frozen=True)
class Bin:
    """The images whose predicted class has a probability in a range.

    Attributes:
        low: Lower end of the range, which belongs to it for the first bin only.
        high: Upper end of the range.
        images: Number of images.
        confidence: Their mean probability.
        accuracy: The share of right answers.
    """

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


@dataclasses.dataclass(frozen=True)
class ClassCurves:
    """Curves of one class against the rest.

    Attributes:
        index: Index of the class.
        average_precision: Mean precision over the steps of recall, as scikit-learn's.
        roc: Pairs (share of false positives, share of true positives).
        precision_recall: Pairs (recall, precision).
    """

    index: int
    average_precision: float
    roc: list[tuple[float, float]]
    precision_recall: list[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Figures:
    """The figures of an evaluation.

    Attributes:
        confusion: True class, predicted class (-1: its probabilities were not all numbers) and number of
            images, for every pair that occurs.
        roc: Share of false positives, share of true positives, and threshold (`Plots.roc`).
        intervals: 95 % confidence intervals by metric.
        recall_intervals: Those of the recall of each class, by class index.
        ece: Expected calibration error; None if there were too many images, or no usable probability.
        bins: The bins of the calibration curve that have images.
        curves: Of some classes; empty if there were too many probabilities.
    """

    confusion: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)
    roc: list[tuple[float, float, float]] = dataclasses.field(default_factory=list)
    intervals: dict[str, Interval] = dataclasses.field(default_factory=dict)
    recall_intervals: dict[int, Interval] = dataclasses.field(default_factory=dict)
    ece: float | None = None
    bins: list[Bin] = dataclasses.field(default_factory=list)
    curves: list[ClassCurves] = dataclasses.field(default_factory=list)

    def to_json(self) -> str:
        """Return them as JSON."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    @staticmethod
    def from_json(text: str) -> Figures:
        """Return what `to_json` wrote."""
        return TypeAdapter(Figures).validate_json(text)


def read_figures(folder: str) -> Figures:
    """Return the figures in an evaluation's folder; of an earlier version only what TFMA keeps."""
    path = os.path.join(folder, FILE)
    if files.exists(path):
        return Figures.from_json(files.read_text(path))
    from components.tasks.classification.plots import read_plots

    plots = read_plots(folder)
    return Figures(list_confusion(plots.confusion), plots.roc)


def list_confusion(confusion: Mapping[tuple[int, int], int]) -> list[tuple[int, int, int]]:
    """Return a confusion matrix as rows."""
    return [(true, predicted, count) for (true, predicted), count in confusion.items()]


def make_figures(found: Predictions, confidence: Confidence, plots: Plots) -> Figures:
    """Return the figures of a model's predictions.

    Args:
        found: Predictions for the whole split.
        confidence: The intervals of the metrics.
        plots: The confusion matrix and the ROC curve.
    """
    bins, ece = calibrate(found.scores, found.labels == found.predicted)
    return Figures(
        list_confusion(plots.confusion),
        plots.roc,
        confidence.intervals,
        confidence.recall_intervals,
        ece,
        bins,
        draw_curves(found),
    )


def calibrate(scores: Array, right: Array) -> tuple[list[Bin], float | None]:
    """Return the bins that have images, and the expected calibration error; None without an image.

    Args:
        scores: Probabilities of the predicted classes [N]; negative ones are left out.
        right: Whether the predicted class is the true one, bool [N].
    """
    right, scores = right[scores >= 0], scores[scores >= 0].astype(np.float64)
    if not len(scores):
        return [], None
    places = np.clip(np.ceil(scores * BINS).astype(np.int64) - 1, 0, BINS - 1)
    bins = [
        Bin(
            place / BINS,
            (place + 1) / BINS,
            int(mine.sum()),
            float(scores[mine].mean()),
            float(right[mine].mean()),
        )
        for place in np.unique(places).tolist()
        for mine in [places == place]
    ]
    ece = math.fsum(each.images * abs(each.accuracy - each.confidence) for each in bins) / len(scores)
    return bins, ece


def draw_curves(found: Predictions) -> list[ClassCurves]:
    """Return the curves of the classes with the lowest average precisions; none without probabilities."""
    if found.probabilities is None:
        return []
    usable = found.predicted >= 0
    labels, probabilities = found.labels[usable], found.probabilities[usable]
    count = len(found.class_names)
    made = [
        _draw(label, labels == label, probabilities[:, label])
        for label in ([1] if count == 2 else range(count))
    ]
    there = [each for each in made if each is not None]
    return sorted(
        sorted(there, key=lambda each: each.average_precision)[:MOST_CURVES], key=lambda each: each.index
    )


def _draw(label: int, is_own: Array, scores: Array) -> ClassCurves | None:
    positives, negatives = int(is_own.sum()), int((~is_own).sum())
    if not positives or not negatives:
        return None
    order = np.argsort(-scores, kind="stable")
    hits, misses = np.cumsum(is_own[order]), np.cumsum(~is_own[order])
    # Images of equal probability come together.
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits, misses = hits[ends], misses[ends]
    true, false = np.append(0, hits / positives), np.append(0, misses / negatives)
    recall, precision = hits / positives, hits / (hits + misses)
    average = float(np.sum(np.diff(recall, prepend=0.0) * precision))
    return ClassCurves(
        label,
        average,
        _thin_out(false, true, false + true),
        _thin_out(recall, precision, recall + np.append(0.0, np.cumsum(np.abs(np.diff(precision))))),
    )


def _thin_out(x: Array, y: Array, way: Array) -> list[tuple[float, float]]:
    """Return points evenly along a curve, including its ends."""
    places: Sequence[int] = np.unique(np.searchsorted(way, np.linspace(way[0], way[-1], _POINTS))).tolist()
    return [(round(float(x[i]), 5), round(float(y[i]), 5)) for i in places if i < len(x)]
