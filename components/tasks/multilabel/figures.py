"""The figures of an evaluation that pages show besides the metrics, as JSON. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping

import numpy as np
from pydantic import TypeAdapter

from components.base import files
from components.base.arrays import Array
from components.base.intervals import Confidence, Interval
from components.base.saved_model import ASSETS
from components.base.table import read_table
from components.tasks.multilabel.metrics import judge_predicted
from components.tasks.multilabel.predictions import Predictions

FILE = "figures.json"
# The model's file with its thresholds (components/tasks/multilabel/serving.py).
_THRESHOLDS = (ASSETS, "thresholds.csv")
# Points of a curve; classes with curves, those with the lowest average precisions.
_POINTS, MOST_CURVES = 100, 24
# Classes of which pairs are counted: their number grows with the square.
MOST_PAIRED = 100


@dataclasses.dataclass(frozen=True)
class ClassCurve:
    """Precision by recall of one class.

    Attributes:
        index: Index of the class.
        average_precision: As in `metrics`.
        points: Pairs (recall, precision), recall rising.
        at_threshold: The point of the model's threshold; None if the class is never predicted.
    """

    index: int
    average_precision: float
    points: list[tuple[float, float]]
    at_threshold: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Figures:
    """The figures of an evaluation.

    Attributes:
        images: Images of each class, by its index.
        thresholds: Of each class, likewise; empty if the model has no file of them.
        cardinality: Each number of classes of an image that occurs: the number, images that have it, and
            images that get it.
        together: Pairs of classes: both indices, images that have both, images that have the first one and
            get the second one by mistake, and the other way round. Empty for too many classes or images.
        intervals: 95 % confidence intervals by metric.
        recall_intervals: Those of the recall of each class, by class index.
        curves: Of some classes; empty if there were too many probabilities.
    """

    images: list[int] = dataclasses.field(default_factory=list)
    thresholds: list[float] = dataclasses.field(default_factory=list)
    cardinality: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)
    together: list[tuple[int, int, int, int, int]] = dataclasses.field(default_factory=list)
    intervals: dict[str, Interval] = dataclasses.field(default_factory=dict)
    recall_intervals: dict[int, Interval] = dataclasses.field(default_factory=dict)
    curves: list[ClassCurve] = dataclasses.field(default_factory=list)

    def to_json(self) -> str:
        """Return them as JSON."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    @staticmethod
    def from_json(text: str) -> Figures:
        """Return what `to_json` wrote."""
        return TypeAdapter(Figures).validate_json(text)


def read_figures(folder: str) -> Figures:
    """Return the figures in an evaluation's folder; none if the split was empty."""
    path = os.path.join(folder, FILE)
    return Figures.from_json(files.read_text(path)) if files.exists(path) else Figures()


def read_thresholds(model: str) -> dict[str, float]:
    """Return the thresholds of a SavedModel by class; empty if it has no file of them."""
    path = os.path.join(model, *_THRESHOLDS)
    rows = read_table(files.read_text(path)) if files.exists(path) else []
    return {row["class"]: float(row["threshold"]) for row in rows}


def make_figures(found: Predictions, confidence: Confidence, thresholds: Mapping[str, float]) -> Figures:
    """Return the figures of a model's predictions.

    Args:
        found: Predictions for the whole split.
        confidence: The intervals of the metrics.
        thresholds: The model's, by class.
    """
    are_numbers = np.isfinite(found.probabilities).all(axis=1)
    predicted = judge_predicted(found.truth, found.predicted, are_numbers)
    return Figures(
        found.truth.sum(axis=0).tolist(),
        [thresholds[name] for name in found.class_names if name in thresholds],
        _count_labels(found.truth, found.predicted),
        _count_pairs(found.truth, predicted),
        confidence.intervals,
        confidence.recall_intervals,
        _draw_curves(found, are_numbers),
    )


def _count_labels(truth: Array, predicted: Array) -> list[tuple[int, int, int]]:
    """Return how many images have, and get, each number of classes that occurs."""
    of_truth, of_answers = (np.bincount(each.sum(axis=1)) for each in (truth, predicted))
    most = max(len(of_truth), len(of_answers))
    padded = [np.pad(each, (0, most - len(each))).tolist() for each in (of_truth, of_answers)]
    return [(number, *counts) for number, counts in enumerate(zip(*padded, strict=True)) if any(counts)]


def _count_pairs(truth: Array, predicted: Array) -> list[tuple[int, int, int, int, int]]:
    """Return the pairs of classes that occur together, or that are mistaken for each other."""
    classes = truth.shape[1] if truth.size else 0
    if classes > MOST_PAIRED:
        return []
    own, false = truth.astype(np.int64), (predicted & ~truth).astype(np.int64)
    both, mistaken = own.T @ own, own.T @ false
    return [
        (one, other, *counts)
        for one in range(classes)
        for other in range(one + 1, classes)
        for counts in [(int(both[one, other]), int(mistaken[one, other]), int(mistaken[other, one]))]
        if any(counts)
    ]


def _draw_curves(found: Predictions, are_numbers: Array) -> list[ClassCurve]:
    """Return the curves of the classes with the lowest average precisions."""
    truth, probabilities = found.truth[are_numbers], found.probabilities[are_numbers]
    predicted = found.predicted[are_numbers]
    made = [
        _draw_curve(label, truth[:, label], probabilities[:, label], predicted[:, label])
        for label in range(len(found.class_names) if truth.size else 0)
        if truth[:, label].any()
    ]
    worst = sorted(made, key=lambda each: each.average_precision)[:MOST_CURVES]
    return sorted(worst, key=lambda each: each.index)


def _draw_curve(label: int, is_own: Array, scores: Array, predicted: Array) -> ClassCurve:
    order = np.argsort(-scores, kind="stable")
    # Images of equal probability come together.
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits = np.cumsum(is_own[order])[ends]
    recall, precision = hits / hits[-1], hits / (ends + 1)
    average = float(np.sum(np.diff(recall, prepend=0.0) * precision))
    way = recall + np.append(0.0, np.cumsum(np.abs(np.diff(precision))))
    places = np.unique(np.searchsorted(way, np.linspace(way[0], way[-1], _POINTS)))
    points = [(round(float(recall[i]), 5), round(float(precision[i]), 5)) for i in places if i < len(way)]
    right = int((is_own & predicted).sum())
    at = (
        (round(right / int(is_own.sum()), 5), round(right / int(predicted.sum()), 5))
        if predicted.any()
        else None
    )
    return ClassCurve(label, average, points, at)
