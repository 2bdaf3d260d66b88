"""95 % confidence intervals of a classifier's metrics (`components.base.intervals`).

Shares of images, `accuracy`, `top_5_accuracy` and the recall of a class, have Wilson's interval. What depends
on counts by class, such as `macro_f1`, is measured on confusion matrices that are drawn with replacement,
which is the same as to draw images. `loss` and `auc` need the answers themselves. Imports no TensorFlow.
"""

from collections.abc import Callable, Mapping

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
from components.tasks.classification.predictions import Predictions

_SHARES = ("accuracy", "top_5_accuracy")
# The work that drawing may cost: numbers that are drawn or sorted, half a second.
_MOST_WORK = 20_000_000
# Numbers in the largest table of drawn confusion matrices, 400 MB.
_MOST_DRAWN = 50_000_000


def find_confidence(found: Predictions, metrics: Mapping[str, float]) -> Confidence:
    """Return the intervals of a model's metrics.

    Args:
        found: Predictions for the whole split, in the order of the images' names.
        metrics: The overall metrics; others get no interval.
    """
    images = len(found.images)
    if not images:
        return Confidence()
    intervals = {name: wilson_interval(metrics[name] * images, images) for name in _SHARES if name in metrics}
    by_class = _count(found)
    drawn = _measure_drawn(*by_class)
    for name in metrics:
        if name in drawn:
            intervals[name] = bootstrap_interval(drawn[name])
    draws = {
        name: values
        for name, draw in (("loss", _draw_loss), ("auc", _draw_auc))
        if name in metrics and (values := draw(found)) is not None
    }
    intervals |= {name: bootstrap_interval(values) for name, values in draws.items()}
    true = np.bincount(found.labels, minlength=len(found.class_names))
    right = np.bincount(found.labels[found.labels == found.predicted], minlength=len(found.class_names))
    return make_confidence(intervals, right.tolist(), true.tolist(), draws)


def _count(found: Predictions) -> tuple[Array, Array, Array, int]:
    """Return true and predicted class (-1 for none) of the pairs that occur, their counts, and classes."""
    count = len(found.class_names)
    pairs, counts = np.unique(found.labels * (count + 1) + found.predicted + 1, return_counts=True)
    return pairs // (count + 1), pairs % (count + 1) - 1, counts, count


def _measure_drawn(true: Array, predicted: Array, counts: Array, classes: int) -> dict[str, Array]:
    """Return metrics of drawn confusion matrices, [RESAMPLES] each; as `metrics.measure` defines them.

    Empty where there are too many classes, or confused pairs of them, for the memory.
    """
    if max(len(counts) * RESAMPLES, len(counts) * classes, classes * RESAMPLES) > _MOST_DRAWN:
        return {}
    total = int(counts.sum())
    drawn = np.random.default_rng(SEED).multinomial(total, counts / total, size=RESAMPLES).astype(np.float64)

    def gather(wanted: Array, of: Array) -> Array:
        onto = np.zeros([len(counts), classes])
        onto[np.flatnonzero(wanted), of[wanted]] = 1.0
        return drawn @ onto

    everything = np.ones(len(counts), bool)
    images, answers = gather(everything, true), gather(predicted >= 0, np.maximum(predicted, 0))
    right = gather(true == predicted, true)
    with np.errstate(invalid="ignore", divide="ignore"):
        measured = {
            "precision": right / answers,
            "recall": right / images,
            "f1": 2 * right / (images + answers),
        }
        has_images, is_seen = images > 0, (images > 0) | (answers > 0)
        found = {"balanced_accuracy": np.nanmean(np.where(has_images, measured["recall"], np.nan), axis=1)}
        for name, values in measured.items():
            values = np.nan_to_num(values)
            found[f"macro_{name}"] = (values * is_seen).sum(axis=1) / is_seen.sum(axis=1)
            found[f"weighted_{name}"] = (values * images).sum(axis=1) / total
            found[f"min_class_{name}"] = np.where(has_images, values, np.inf).min(axis=1)
    return found


def _choose_resamples(work: int) -> int:
    """Return how often a metric is measured, if once is this much work; 0 if that would be too rarely."""
    most = min(RESAMPLES, _MOST_WORK // max(1, work))
    return most if most >= LEAST_RESAMPLES else 0


def _draw(images: int, work: int, measure: Callable[[Array], float]) -> Array | None:
    """Return a metric of images with weights, how often each was drawn; None if that is too much work."""
    generator = np.random.default_rng(SEED)
    chance = np.full(images, 1.0 / images)
    values = [measure(generator.multinomial(images, chance)) for _ in range(_choose_resamples(work))]
    return np.array(values) if values else None


def _draw_loss(found: Predictions) -> Array | None:
    values = found.losses.astype(np.float64)
    if not np.isfinite(values).all():
        return None
    return _draw(len(values), len(values), lambda weights: float(weights @ values) / len(values))


def _draw_auc(found: Predictions) -> Array | None:
    """Return the mean area under the ROC curves of the classes on drawn splits."""
    if found.probabilities is None or (found.predicted < 0).any():
        return None
    classes = [
        _rank(found.labels == label, found.probabilities[:, label]) for label in np.unique(found.labels)
    ]

    def measure(weights: Array) -> float:
        areas = [area for ranked in classes if (area := _area(weights, *ranked)) is not None]
        return float(np.mean(areas)) if areas else np.nan

    return _draw(len(found.images), found.probabilities.size, measure)


def _rank(is_own: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Return images by ascending probability, which of them are of the class, and where ties begin."""
    order = np.argsort(scores, kind="stable")
    begins = np.flatnonzero(np.append(True, np.diff(scores[order]) != 0))
    return order, is_own[order], begins


def _area(weights: Array, order: Array, is_own: Array, begins: Array) -> float | None:
    ranked = weights[order]
    own = np.add.reduceat(np.where(is_own, ranked, 0), begins)
    others = np.add.reduceat(np.where(is_own, 0, ranked), begins)
    pairs = int(own.sum()) * int(others.sum())
    if not pairs:
        return None
    below = np.cumsum(others) - others
    return float(own @ (below + others / 2)) / pairs
