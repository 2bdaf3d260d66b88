"""The trivial classifier, which gives one class for every image, and the evidence that a model is better."""

import math
from collections.abc import Mapping, Sequence

from components.evaluator.bounds import NO, UNKNOWN, YES

TRIVIAL = "one that gives the same class for every image"
# One-sided 99 % of the normal distribution.
_SURE = 2.326
# A model that finds four of five images misses this many in less than 1 of 100 test splits.
_ENOUGH_OTHERS = 3


def judge_trivial(counts: Sequence[tuple[int, int, int]]) -> float:
    """Return whether predictions are better than one class for every image, by balanced accuracy.

    The mean recall of K classes is 1 / K for any constant answer, and on average for any answers that do not
    depend on the images. The verdict is YES if the model's is above that by more than the same answers, given
    to the images in random order, reach in one of 100 cases (by the exact mean and variance over all orders).
    Otherwise it is NO in two cases. First, if the answer is the same for every image, and at least
    `_ENOUGH_OTHERS` images are of other classes. Second, if the model is less than half way from 1 / K to 1
    even at the upper end of the one-sided 99 % confidence interval, with the largest variance that it can
    have. Otherwise it is UNKNOWN.

    Args:
        counts: Images, predictions and right predictions of each class.

    Returns:
        YES, UNKNOWN or NO.
    """
    present = [row for row in counts if row[0]]
    classes, total = len(present), sum(images for images, _, _ in present)
    if classes < 2:
        return UNKNOWN
    recall = sum(right / images for images, _, right in present) / classes
    answered = sum(predicted for _, predicted, _ in present)
    expected = answered / total / classes
    # The variance of a sum over a random permutation is that of the matrix of its terms, without the means of
    # its rows and columns, divided by n - 1. A term is 1 / (classes x images of the class) if answer and
    # class agree. In units of 1 / classes squared:
    squares = sum(predicted / images for images, predicted, _ in present)
    columns = sum(predicted**2 / images for images, predicted, _ in present) / total
    variance = (squares - answered / total - columns + (answered / total) ** 2) / (total - 1) / classes**2
    above = recall - expected
    if above > 1e-9 and above >= _SURE * math.sqrt(max(variance, 0.0)):
        return YES
    if sum(predicted > 0 for _, predicted, _ in counts) <= 1:
        others = total - sum(images for images, predicted, _ in counts if predicted)
        return NO if others >= _ENOUGH_OTHERS else UNKNOWN
    margin = _SURE * 0.5 * math.sqrt(sum(1 / images for images, _, _ in present)) / classes
    return NO if recall + margin < (1 / classes + 1) / 2 else UNKNOWN


def describe_evidence(metrics: Mapping[str, float]) -> str:
    """Return the metrics that show whether a classifier is better than one class for every image, as text."""
    balanced, accuracy, majority = (
        f"{metrics.get(name, math.nan):.4f}"
        for name in ("balanced_accuracy", "accuracy", "majority_accuracy")
    )
    return (
        f"balanced_accuracy is {balanced}, and accuracy {accuracy}, where always the most frequent class "
        f"reaches {majority}"
    )
