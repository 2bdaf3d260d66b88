"""The least probability at which a class counts as predicted: one threshold for each class. NumPy only.

`training.label_threshold` is one number for all classes, or `f1`: then each class has the threshold with its
highest F1 on the eval split. It is in the middle between the least probability that still counts and the
next one below. Of several thresholds with that F1, the one nearest to 0.5 is taken. A class without an image
in the eval split, or that all images have, keeps 0.5: nothing can be tuned there.

Source: Lipton et al., Thresholding classifiers to maximize F1 score, 2014.
"""

import math

import numpy as np

from components.base.arrays import Array

DEFAULT = 0.5


def choose_thresholds(truth: Array, probabilities: Array) -> Array:
    """Return the threshold of each class with its highest F1, float32 [classes].

    Args:
        truth: Whether an image has a class, bool [N, classes].
        probabilities: float [N, classes]; images with values that are no numbers are left out.
    """
    are_numbers = np.isfinite(probabilities).all(axis=1)
    truth, probabilities = truth[are_numbers], probabilities[are_numbers]
    chosen = [_choose(truth[:, label], probabilities[:, label]) for label in range(truth.shape[1])]
    return np.array(chosen, np.float32)


def _choose(is_own: Array, scores: Array) -> float:
    total = int(is_own.sum())
    if total in (0, len(scores)):
        return DEFAULT
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order].astype(np.float64)
    # Images of equal probability count together.
    ends = np.flatnonzero(np.append(ranked[:-1] != ranked[1:], True))
    right = np.cumsum(is_own[order])[ends]
    # F1 is 2 right / (predicted + images of the class).
    scored = 2 * right / (ends + 1 + total)
    best = np.flatnonzero(scored >= scored.max() - 1e-12)
    below = np.append(ranked, 0.0)[ends + 1]
    middles = (ranked[ends] + below) / 2
    return float(min(middles[best], key=lambda middle: (abs(middle - DEFAULT), middle)))


def make_thresholds(given: str | float, truth: Array, probabilities: Array) -> Array:
    """Return the thresholds that `training.label_threshold` asks for, float32 [classes]."""
    if isinstance(given, str):
        return choose_thresholds(truth, probabilities)
    return np.full(truth.shape[1], given, np.float32)


def is_predicted(probabilities: Array, thresholds: Array) -> Array:
    """Return whether each class is predicted, bool [N, classes]; never by a probability that is no number."""
    found: Array = np.asarray(probabilities, np.float32) >= thresholds
    return found


def format_thresholds(class_names: tuple[str, ...], thresholds: Array) -> list[tuple[str, float]]:
    """Return the classes with their thresholds, as a model's file has them."""
    return [(name, float(f"{value:.9g}")) for name, value in zip(class_names, thresholds, strict=True)]


def describe_thresholds(thresholds: Array) -> str:
    """Return the least and the largest threshold as text, for the log."""
    low, high = float(thresholds.min()), float(thresholds.max())
    return f"{low:.3f}" if math.isclose(low, high) else f"{low:.3f} to {high:.3f}"
