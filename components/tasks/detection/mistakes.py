"""What a detector got wrong, and how targets and predictions are shown on images."""

from collections.abc import Mapping, Sequence

import numpy as np

from components.base.arrays import Array
from components.pictures.grid import Mark
from components.tasks.detection.coco_eval import in_pixels, iou

# Boxes with lower scores are not drawn.
_SHOWN_SCORE = 0.3


def show_targets(targets: Array, class_names: Sequence[str]) -> tuple[str, list[Mark]]:
    """Return the number of boxes in targets [B, 5], in words, and the boxes."""
    marks = [
        (box[:4].tolist(), _name(box[4], class_names), abs(int(box[4]))) for box in targets if box[4] != 0
    ]
    return f"{len(marks)} box{'' if len(marks) == 1 else 'es'}", marks


def find_mistakes(
    predictions: Mapping[str, Array], labels: Array, class_names: Sequence[str], count: int
) -> list[tuple[int, str, list[Mark]]]:
    """Return images with missed or superfluous boxes, those with most of them first.

    A box on a difficult object is neither.

    Args:
        predictions: `boxes`, `scores` and `labels` of each image; see `Detection.predict`.
        labels: Targets [N, B, 5].
        class_names: The names of the labels 1 and up.
        count: The most images to return.

    Returns:
        The images' places in `labels`, their captions, and the predicted boxes.
    """
    worst: list[tuple[int, float, int, str, list[Mark]]] = []
    for place, targets in enumerate(labels):
        truth, spared = targets[targets[:, 4] > 0], targets[targets[:, 4] < 0]
        is_shown = predictions["scores"][place] >= _SHOWN_SCORE
        boxes, scores, found = (predictions[name][place][is_shown] for name in ("boxes", "scores", "labels"))
        right, wrong = np.zeros(len(boxes), bool), np.zeros(len(boxes), bool)
        for label in np.unique(found):
            mine = found == label
            right[mine] = match_boxes(boxes[mine], truth[truth[:, 4] == label][:, :4], 0.5)
            wrong[mine] = ~right[mine] & ~_overlap_any(
                boxes[mine], spared[spared[:, 4] == -label][:, :4], 0.5
            )
        missed, extra = len(truth) - int(right.sum()), int(wrong.sum())
        if missed + extra == 0:
            continue
        marks = [
            (box.tolist(), f"{_name(label, class_names)} {score:.2f}", int(label))
            for box, label, score in zip(boxes, found, scores, strict=True)
        ]
        extra_score = float(scores[wrong].sum())
        worst.append((missed + extra, extra_score, place, f"{missed} missed\n{extra} extra", marks))
    # Equal ones in the order of the examples, so that two runs show the same.
    worst.sort(key=lambda item: (-item[0], -item[1], item[2]))
    return [(place, caption, marks) for _, _, place, caption, marks in worst[:count]]


def match_boxes(boxes: Array, truth: Array, least_iou: float) -> Array:
    """Return which boxes [N, 4], the best first, find a true box [M, 4] not found before: bool [N]."""
    right = np.zeros(len(boxes), bool)
    left = _overlaps(boxes, truth)
    for place in range(len(boxes) if len(truth) else 0):
        best = left[place].argmax()
        if left[place, best] >= least_iou:
            right[place] = True
            left[:, best] = -1.0
    return right


def _overlap_any(boxes: Array, others: Array, least_iou: float) -> Array:
    """Return which boxes [N, 4] overlap any of others [M, 4] this much: bool [N]."""
    found: Array = (_overlaps(boxes, others) >= least_iou).any(axis=1)
    return found


def _overlaps(boxes: Array, others: Array) -> Array:
    return iou(in_pixels(boxes, 1, 1), in_pixels(others, 1, 1))


def _name(label: float, class_names: Sequence[str]) -> str:
    """Return the class name, with `?` where the object is difficult."""
    return f"{class_names[abs(int(label)) - 1]}{'?' if label < 0 else ''}"
