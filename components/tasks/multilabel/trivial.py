"""The trivial model, which gives every image the same answer, and the evidence that a model is better."""

import math
from collections.abc import Mapping, Sequence

from components.evaluator.bounds import NO, UNKNOWN, YES

TRIVIAL = "one that gives the same classes for every image"
# One-sided 99 % of the normal distribution.
_SURE = 2.326
# The area of a class that is half way from chance to a perfect ranking.
_HALF_WAY = 0.75


def judge_trivial(areas: Sequence[tuple[float, int, int]]) -> float:
    """Return whether probabilities rank images better than one answer for all of them.

    The mean area under the ROC curve of the classes is 0.5 for any constant answer, and on average for any
    answers that do not depend on the images. The verdict is YES if the model's is above that by more than the
    same answers, given to the images in random order, reach in one of 100 cases. It is NO if the mean is less
    than half way from 0.5 to 1 even at the upper end of the one-sided 99 % confidence interval, with the
    largest variance that it can have. Otherwise it is UNKNOWN. Both take the areas of the classes to vary
    together, since images have several of them: so few images do not look like many.

    Args:
        areas: Area, images of the class, and other images, of each class that has both.

    Returns:
        YES, UNKNOWN or NO.

    Source: Hanley and McNeil, The meaning and use of the area under a ROC curve, 1982.
    """
    if not areas:
        return UNKNOWN
    mean = math.fsum(area for area, _, _ in areas) / len(areas)
    # Of Mann and Whitney's U, without ties.
    by_chance = math.fsum(math.sqrt((n + m + 1) / (12 * n * m)) for _, n, m in areas) / len(areas)
    if mean - 0.5 > _SURE * by_chance:
        return YES
    largest = math.fsum(0.5 / math.sqrt(min(n, m)) for _, n, m in areas) / len(areas)
    return NO if mean + _SURE * largest < _HALF_WAY else UNKNOWN


def describe_evidence(metrics: Mapping[str, float]) -> str:
    """Return the metrics that show whether a model is better than a constant answer, as text."""
    area, precision = (f"{metrics.get(name, math.nan):.4f}" for name in ("auc", "mean_average_precision"))
    return f"auc is {area}, where a constant answer reaches 0.5, and mean_average_precision {precision}"
