"""Kinds of errors that a detector makes, and the cost of each. Imports no TensorFlow.

After TIDE (Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020) and
Hoiem et al. ("Diagnosing Error in Object Detectors", ECCV 2012). A box is right if it is matched at IoU 0.5.
Matching is COCO's: boxes by descending score, each with the object of its class that it overlaps most and
that no earlier box took. Boxes on difficult objects are ignored. Every other box is of the first of these
kinds that fits:

    duplicate      IoU of at least 0.5 with an object of its class, which a box of a higher score took
    wrong_class    IoU of at least 0.5 with an object of another class
    badly_placed   IoU of 0.1 to 0.5 with an object of its class
    wrong_class    IoU of 0.1 to 0.5 with an object of another class (TIDE calls it both)
    background     a lower IoU with every object

    missed         an object without a matched box, and without any wrong_class or badly_placed box

The cost of a kind is the gain in `map_50` if all errors of the kind, and no others, were repaired: duplicates
and background removed, wrong classes and places corrected (or removed if the object already has its box),
missed objects not required. The costs do not add up to 1 - map_50. Errors are counted among the boxes whose
score is at least the best score of their class: the score where the F1 of the class is highest, or 0.5 if no
box of the class is right. Most boxes of a detector have scores near 0 and would hide the others.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from components.base.arrays import Array
from components.tasks.detection.coco_eval import MAX_BOXES, RECALLS, Detections, in_pixels, iou

RIGHT = "right"
DUPLICATE = "duplicate"
WRONG_CLASS = "wrong_class"
BADLY_PLACED = "badly_placed"
BACKGROUND = "background"
MISSED = "missed"
KINDS = (MISSED, DUPLICATE, WRONG_CLASS, BADLY_PLACED, BACKGROUND)

RIGHT_IOU = 0.5
NEAR_IOU = 0.1
# The best score of a class without a right box.
USUAL_SCORE = 0.5


@dataclasses.dataclass(frozen=True)
class Found:
    """A box that was found and judged.

    Attributes:
        image: Index of its image.
        index: Its place in the image's `found_boxes`.
        label: The model's label.
        score: The model's score.
        kind: RIGHT or one of KINDS.
        object: Index of its object in the image's `boxes`; None for background.
    """

    image: int
    index: int
    label: int
    score: float
    kind: str
    object: int | None


@dataclasses.dataclass(frozen=True)
class Analysis:
    """Errors of a split.

    Attributes:
        found: All boxes except those on difficult objects, scores descending.
        missed: (image, object) of the objects that are MISSED if all boxes count.
        best_scores: By label - 1: the score where F1 is highest, or USUAL_SCORE.
        counts: By kind: boxes with at least the best score of their class.
        counts_by_class: The same by label - 1. An error counts for the class that the model names, a missed
            object for its own class.
        costs: By kind: the gain in map_50.
    """

    found: list[Found]
    missed: list[tuple[int, int]]
    best_scores: list[float]
    counts: dict[str, int]
    counts_by_class: list[dict[str, int]]
    costs: dict[str, float]


@dataclasses.dataclass(frozen=True)
class ImageErrors:
    """Errors on one image, at the best scores of the classes."""

    index: int
    found: list[Found]
    counts: Counter[str]
    not_found: list[int]

    @property
    def f1(self) -> float:
        """2 right / (boxes + objects); 1 if there is neither."""
        right = self.counts[RIGHT]
        total = len(self.found) + right + len(self.not_found)
        return 2 * right / total if total else 1.0

    @property
    def errors(self) -> int:
        """Number of errors of any kind."""
        return sum(self.counts[kind] for kind in KINDS)


def count_errors(index: int, image: Detections, found: list[Found]) -> ImageErrors:
    """Return the errors on image `index`, by the boxes on it that count."""
    there = set(np.flatnonzero(~image.difficult).tolist())
    not_found = sorted(there - {each.object for each in found if each.kind == RIGHT})
    counts = Counter(each.kind for each in found)
    near = {each.object for each in found if each.kind in (WRONG_CLASS, BADLY_PLACED)}
    counts[MISSED] = len(set(not_found) - near)
    return ImageErrors(index, found, counts, not_found)


def judge(image: Detections, number: int = 0) -> list[Found]:
    """Return every box of image `number` except those on difficult objects, scores descending."""
    overlaps = iou(
        in_pixels(image.found_boxes, image.height, image.width),
        in_pixels(image.boxes, image.height, image.width),
    )
    same_class = image.found_labels[:, None] == image.labels[None, :]
    of_class = np.where(same_class & ~image.difficult, overlaps, -1.0)
    of_others = np.where(~same_class & ~image.difficult, overlaps, -1.0)
    on_difficult = ((overlaps >= RIGHT_IOU) & same_class & image.difficult).any(axis=1)
    taken = np.zeros(len(image.boxes), bool)
    counted: dict[int, int] = {}
    judged = []
    for i in np.argsort(-image.scores, kind="mergesort").tolist():
        label = int(image.found_labels[i])
        counted[label] = counted.get(label, 0) + 1
        if counted[label] > MAX_BOXES[-1]:
            continue  # as COCO's metrics do
        kind, on = _find_kind(np.where(taken, -1.0, of_class[i]), of_class[i], of_others[i])
        if kind == RIGHT:
            taken[on] = True
        elif on_difficult[i]:
            continue
        judged.append(Found(number, i, label, float(image.scores[i]), kind, on))
    return judged


def _find_kind(free: Array, of_class: Array, of_others: Array) -> tuple[str, int | None]:
    """Return the kind of a box and its object, by the IoU with each object; -1 excludes an object."""
    for kind, least, overlaps in (
        (RIGHT, RIGHT_IOU, free),
        (DUPLICATE, RIGHT_IOU, of_class),
        (WRONG_CLASS, RIGHT_IOU, of_others),
        (BADLY_PLACED, NEAR_IOU, of_class),
        (WRONG_CLASS, NEAR_IOU, of_others),
    ):
        # Take the last object of several with equal overlaps, as pycocotools does.
        best = len(overlaps) - 1 - int(overlaps[::-1].argmax()) if len(overlaps) else -1
        if best >= 0 and overlaps[best] >= least:
            return kind, best
    return BACKGROUND, None


def _find_missed(images: Sequence[Detections], found: Sequence[Found]) -> list[tuple[int, int]]:
    accounted = {
        (each.image, each.object) for each in found if each.kind in (RIGHT, WRONG_CLASS, BADLY_PLACED)
    }
    return [
        (i, j)
        for i, image in enumerate(images)
        for j in np.flatnonzero(~image.difficult).tolist()
        if (i, j) not in accounted
    ]


def average_precision(right: Array, objects: int) -> float:
    """Return COCO's average precision: the mean, over 101 recalls, of the best precision from there on.

    Args:
        right: bool [N], scores descending.
        objects: The number of objects to find; the result is nan without any.
    """
    if objects <= 0:
        return math.nan
    if not len(right):
        return 0.0
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    first = np.searchsorted(hits / objects, RECALLS, side="left")
    return float(np.append(best_from_here, 0.0)[first].mean())


def _repair(found: Sequence[Found], images: Sequence[Detections], kind: str) -> list[tuple[int, bool]]:
    """Return (label, right) of every box, scores descending, after all errors of a kind are repaired."""
    boxes = []
    taken = {(each.image, each.object) for each in found if each.kind == RIGHT}
    for each in found:
        if each.kind != kind:
            boxes.append((each.label, each.kind == RIGHT))
        elif kind in (WRONG_CLASS, BADLY_PLACED) and (each.image, each.object) not in taken:
            taken.add((each.image, each.object))
            boxes.append((int(images[each.image].labels[each.object]), True))
    return boxes


def _map_50(boxes: Sequence[tuple[int, bool]], objects: Sequence[int]) -> float:
    by_class: list[list[bool]] = [[] for _ in objects]
    for label, right in boxes:
        by_class[label - 1].append(right)
    each = [average_precision(np.array(right, bool), n) for right, n in zip(by_class, objects, strict=True)]
    there = [value for value in each if not math.isnan(value)]
    return float(np.mean(there)) if there else math.nan


def _best_score(found: Sequence[Found], objects: int) -> float:
    hits = np.cumsum([each.kind == RIGHT for each in found])
    if not len(hits) or not hits[-1]:
        return USUAL_SCORE
    # F1 is 2 hits / (boxes + objects).
    return found[int(np.argmax(hits / (np.arange(1, len(hits) + 1) + objects)))].score


def analyse(images: Sequence[Detections], num_classes: int) -> Analysis:
    """Return the errors in detections; see the module's docstring."""
    found = [each for i, image in enumerate(images) for each in judge(image, i)]
    found.sort(key=lambda each: -each.score)
    objects = [
        sum(int(np.sum((image.labels == label) & ~image.difficult)) for image in images)
        for label in range(1, num_classes + 1)
    ]
    by_class = [[each for each in found if each.label == k + 1] for k in range(num_classes)]
    best_scores = [_best_score(boxes, n) for boxes, n in zip(by_class, objects, strict=True)]
    shown = [each for each in found if is_shown(each, best_scores)]
    counts_by_class = [dict.fromkeys((*KINDS, RIGHT), 0) for _ in objects]
    for each in shown:
        counts_by_class[each.label - 1][each.kind] += 1
    for i, j in _find_missed(images, shown):
        counts_by_class[int(images[i].labels[j]) - 1][MISSED] += 1
    missed = _find_missed(images, found)
    as_is = _map_50([(each.label, each.kind == RIGHT) for each in found], objects)
    costs = {}
    for kind in KINDS:
        asked = list(objects)
        if kind == MISSED:
            for i, j in missed:
                asked[int(images[i].labels[j]) - 1] -= 1
        costs[kind] = _map_50(_repair(found, images, kind), asked) - as_is
    counts = {kind: sum(of_class[kind] for of_class in counts_by_class) for kind in (*KINDS, RIGHT)}
    return Analysis(found, missed, best_scores, counts, counts_by_class, costs)


def is_shown(found: Found, best_scores: Sequence[float]) -> bool:
    """Return whether a box counts: its score is at least the best score of its class."""
    return found.score >= best_scores[found.label - 1]
