"""The plots of a classifier's evaluation, as TFMA keeps them: the confusion matrix and the ROC curve."""

from __future__ import annotations

import dataclasses

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import metrics_for_slice_pb2

from components.evaluator.eval_config import BASELINE
from components.tasks.classification.metrics import Tally

CONFUSION_MATRIX = "confusion_matrix"
ROC = "roc"


@dataclasses.dataclass(frozen=True)
class Plots:
    """The candidate's plots on the whole split.

    Attributes:
        confusion: Images by class index: the true one, and the most probable one (-1: no probability was a
            number). Pairs that do not occur are left out.
        roc: Share of false positives, share of true positives, and the lowest probability that counts as
            positive, which falls from point to point (`Tally.roc`). Empty if it was not computed, or if all
            images are of one class.
    """

    confusion: dict[tuple[int, int], int]
    roc: list[tuple[float, float, float]]


def make_confusion_plot(tally: Tally) -> metrics_for_slice_pb2.MultiClassConfusionMatrixAtThresholds:
    """Return the confusion matrix of a tally as TFMA's plot."""
    plot = metrics_for_slice_pb2.MultiClassConfusionMatrixAtThresholds()
    matrix = plot.matrices.add()
    for (true, predicted), count in tally.confusion().items():
        matrix.entries.add(actual_class_id=true, predicted_class_id=predicted, num_weighted_examples=count)
    return plot


def make_roc_plot(tally: Tally) -> metrics_for_slice_pb2.ConfusionMatrixAtThresholds:
    """Return the ROC curve of a tally as TFMA's plot."""
    plot = metrics_for_slice_pb2.ConfusionMatrixAtThresholds()
    for threshold, true_positives, false_positives, true_negatives, false_negatives in tally.roc():
        plot.matrices.add(
            threshold=threshold,
            true_positives=true_positives,
            false_positives=false_positives,
            true_negatives=true_negatives,
            false_negatives=false_negatives,
        )
    return plot


def read_plots(folder: str) -> Plots:
    """Read the plots from an evaluation's folder."""
    confusion: dict[tuple[int, int], int] = {}
    roc: list[tuple[float, float, float]] = []
    for by_slice in tfma.load_plots(folder):
        if by_slice.slice_key.single_slice_keys:
            continue
        for item in by_slice.plot_keys_and_values:
            if item.key.model_name == BASELINE:
                continue
            if item.key.name == CONFUSION_MATRIX:
                (matrix,) = item.value.multi_class_confusion_matrix_at_thresholds.matrices
                for entry in matrix.entries:
                    pair = entry.actual_class_id, entry.predicted_class_id
                    confusion[pair] = round(entry.num_weighted_examples)
            elif item.key.name == ROC:
                for point in item.value.confusion_matrix_at_thresholds.matrices:
                    wrong = point.false_positives / (point.false_positives + point.true_negatives)
                    right = point.true_positives / (point.true_positives + point.false_negatives)
                    roc.append((wrong, right, point.threshold))
    return Plots(confusion, roc)
