"""How good boxes are, in one number for the log of a training; the Evaluator measures by COCO's own code.

Source: Lin et al., Microsoft COCO, 2014, and its evaluation: precision at 101 recalls, each the best that is
had at this recall or a higher one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_RECALLS = np.linspace(0.0, 1.0, 101)


def overlaps(boxes: Array, others: Array) -> Array:
    """IoU of every box [N, 4] with every other [M, 4]: [N, M]."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=-1)
    areas = [np.prod(some[:, 2:] - some[:, :2], axis=-1) for some in (boxes, others)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None, :] - shared, 1e-9)


def hits(boxes: Array, truth: Array, iou: float) -> Array:
    """Which boxes [N, 4], the best first, find a true one [M, 4] that none before found: bool [N]."""
    found = np.zeros(len(truth), bool)
    right = np.zeros(len(boxes), bool)
    for place, by_truth in enumerate(overlaps(boxes, truth)):
        open_ones = np.where(found, -1.0, by_truth)
        if len(truth) and open_ones.max() >= iou:
            found[open_ones.argmax()] = right[place] = True
    return right


def average_precision(scores: Array, right: Array, num_truth: int) -> float:
    """Of one class: what its boxes were scored, which of them were hits, and how many there are to find."""
    order = np.argsort(-scores, kind="stable")
    true = np.cumsum(right[order])
    recall, precision = true / num_truth, true / np.arange(1, len(order) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(recall, _RECALLS)
    return float(np.append(best, 0.0)[np.minimum(place, len(best))].mean())


def mean_average_precision(targets: Array, predictions: Mapping[str, Array], iou: float = 0.5) -> float:
    """Mean over the classes that occur.

    Args:
        targets: float32 [N, B, 5]; see components/detection/inputs.py.
        predictions: `boxes` [N, D, 4], `scores` [N, D], descending, and `labels` [N, D], 0 for none.
        iou: What a box must overlap to be a hit.

    Returns:
        0 to 1; 0 where there is nothing to find.
    """
    true_labels = np.rint(targets[..., 4]).astype(int)
    means = []
    for label in np.unique(true_labels[true_labels > 0]):
        scores, right = [], []
        for image in range(len(targets)):
            mine = predictions["labels"][image] == label
            scores.append(predictions["scores"][image][mine])
            truth = targets[image][true_labels[image] == label][:, :4]
            right.append(hits(predictions["boxes"][image][mine], truth, iou))
        count = int((true_labels == label).sum())
        means.append(average_precision(np.concatenate(scores), np.concatenate(right), count))
    return float(np.mean(means)) if means else 0.0
