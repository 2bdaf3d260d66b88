"""95 % confidence intervals of the metrics of multilabel classification (`components.base.intervals`).

`subset_accuracy`, a share of images, and the recall of a class have Wilson's interval. The other metrics are
measured on splits that are drawn with replacement, an image with all of its classes. Imports no TensorFlow.
"""

from collections.abc import Mapping

import numpy as np

from components.base.arrays import Array
from components.base.intervals import (
    LEAST_RESAMPLES,
    RESAMPLES,
    SEED,
    Confidence,
    bootstrap_interval,
    make_confidence,
    wilson_interval,
)
from components.tasks.multilabel.metrics import find_losses, judge_predicted
from components.tasks.multilabel.predictions import Predictions

# The work that drawing may cost: decisions that are weighted, about a second.
_MOST_WORK = 20_000_000


def find_confidence(found: Predictions, metrics: Mapping[str, float]) -> Confidence:
    """Return the intervals of a model's metrics.

    Args:
        found: Predictions for the whole split, in the order of the images' names.
        metrics: The overall metrics; others get no interval.
    """
    images = len(found.images)
    if not images:
        return Confidence()
    are_numbers = np.isfinite(found.probabilities).all(axis=1)
    predicted = judge_predicted(found.truth, found.predicted, are_numbers)
    drawn = _draw(found, predicted, are_numbers)
    draws = {name: values for name, values in drawn.items() if name in metrics}
    intervals = {name: bootstrap_interval(values) for name, values in draws.items()}
    if "subset_accuracy" in metrics:
        intervals["subset_accuracy"] = wilson_interval(metrics["subset_accuracy"] * images, images)
    totals = found.truth.sum(axis=0).tolist()
    right = (found.truth & predicted).sum(axis=0).tolist()
    return make_confidence(intervals, right, totals, draws)


def _draw(found: Predictions, predicted: Array, are_numbers: Array) -> dict[str, Array]:
    """Return metrics on drawn splits, float64 [draws] by name; empty if there are too many decisions."""
    truth, images = found.truth, len(found.images)
    resamples = min(RESAMPLES, _MOST_WORK // truth.size)
    if resamples < LEAST_RESAMPLES:
        return {}
    chance = np.full(images, 1.0 / images)
    drawn = np.random.default_rng(SEED).multinomial(images, chance, size=resamples).astype(np.float64)
    right, labels, answers = (
        drawn @ each.astype(np.float64) for each in (truth & predicted, truth, predicted)
    )
    wrong = (truth != predicted).sum(axis=1)
    draws = {
        "subset_accuracy": drawn @ (wrong == 0) / images,
        "hamming_loss": drawn @ wrong / truth.size,
        **_measure_shares(right, labels, answers),
        "mean_average_precision": _draw_average_precision(found, drawn, are_numbers),
    }
    if are_numbers.all():
        draws["loss"] = drawn @ find_losses(truth, found.probabilities).mean(axis=1) / images
    return draws


def _measure_shares(right: Array, labels: Array, answers: Array) -> dict[str, Array]:
    """Return micro and macro metrics of counts [draws, classes], as `metrics.measure` defines them."""
    found = {}
    seen = (labels > 0) | (answers > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        for name, part, whole in (
            ("precision", right, answers),
            ("recall", right, labels),
            ("f1", 2 * right, labels + answers),
        ):
            found[f"micro_{name}"] = np.nan_to_num(part.sum(axis=1) / whole.sum(axis=1))
            found[f"macro_{name}"] = np.nan_to_num(part / whole).sum(axis=1) / seen.sum(axis=1)
    return found


def _draw_average_precision(found: Predictions, drawn: Array, are_numbers: Array) -> Array:
    """Return the mean average precision of drawn splits, [draws]."""
    scores = np.where(are_numbers[:, None], found.probabilities, np.where(found.truth, -1.0, 2.0))
    sums, counts = np.zeros(len(drawn)), np.zeros(len(drawn))
    for label in np.flatnonzero(found.truth.any(axis=0)).tolist():
        order = np.argsort(-scores[:, label], kind="stable")
        ranked, is_own = scores[order, label], found.truth[order, label]
        ends = np.flatnonzero(np.append(ranked[:-1] != ranked[1:], True))
        weights = drawn[:, order]
        right = np.cumsum(weights * is_own, axis=1)[:, ends]
        above = np.cumsum(weights, axis=1)[:, ends]
        totals = right[:, -1]
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.nan_to_num(right / above)
            value = (np.diff(right, prepend=0.0, axis=1) * precision).sum(axis=1) / totals
        there = totals > 0
        sums[there] += value[there]
        counts += there
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums / counts)
