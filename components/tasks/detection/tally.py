"""COCO's metrics from counts that merge, for any number of images on any number of workers.

pycocotools judges one image at a time: which boxes are right and which are wrong, at each IoU and for each
size of object. A `Tally` keeps one row for each box: its class, its score, and these judgements as bits. The
curves follow from the rows in the order of their scores, as pycocotools computes them.

The rows are bounded. If there are more than `MOST_ROWS`, scores lose their last bits until the rows that
became equal, and are counted as one, are few enough; then equal scores count as one step of the curve. The
result depends on the images, but not on their order. Imports no TensorFlow.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence

import numpy as np

from components.base.arrays import Array
from components.tasks.detection.coco_eval import (
    AREAS,
    IOUS,
    MAX_BOXES,
    RECALLS,
    CocoEvaluation,
    CocoResult,
    Detections,
    average,
    average_precisions,
    check_image,
)

# Rows that are kept, some 40 bytes each: 40,000 images with 100 boxes.
MOST_ROWS = 2**22
# Parts that wait to be joined; each has an overhead.
_MOST_PARTS = 1024
_JUDGEMENTS = len(AREAS) * len(IOUS)
# Each of the judgements is a bit, size by size and IoU by IoU. `image` is an index of `Tally._names`.
_ROW = np.dtype(
    [
        ("label", np.int32),
        ("score", np.float32),
        ("image", np.int32),
        ("right", np.uint64),
        ("wrong", np.uint64),
        ("count", np.int64),
    ]
)
_BITS = np.uint64(1) << np.arange(_JUDGEMENTS, dtype=np.uint64)
_MAGNITUDE = 0x7FFFFFFF


class Tally:
    """Counts of what a detector found on any number of images.

    Attributes:
        images: Number of images.
        objects: Objects to find by label - 1: int64 [classes].
        difficult: Difficult objects by label - 1: int64 [classes].

    Args:
        num_classes: Labels are 1 to this.
        most_rows: See the module's docstring.
    """

    def __init__(self, num_classes: int, most_rows: int = MOST_ROWS):
        self.images = 0
        self.objects, self.difficult = (np.zeros(num_classes, np.int64) for _ in range(2))
        self._num_classes, self._most_rows = num_classes, most_rows
        # By label - 1 and size: the objects that have to be found.
        self._asked = np.zeros((num_classes, len(AREAS)), np.int64)
        # By label - 1, IoU and number of boxes of an image that count: objects of any size found.
        self._found = np.zeros((num_classes, len(IOUS), len(MAX_BOXES)), np.int64)
        self._parts: list[Array] = []
        self._rows = 0
        # Images in the order of the rows; None if there were too many rows.
        self._names: list[str] | None = []
        self._lost_bits = 0

    def add(self, image: Detections) -> None:
        """Judge an image.

        Raises:
            DataRefusedError: A label is out of range.
            MiranteError: A box or score that was found is not a finite number.
        """
        check_image(image, self._num_classes)
        self.images += 1
        for is_difficult, counts in ((False, self.objects), (True, self.difficult)):
            counts += np.bincount(image.labels[image.difficult == is_difficult] - 1, minlength=len(counts))
        parts = []
        for label, scores, right, wrong, asked in _match(image):
            self._asked[label - 1] += asked
            for place, most in enumerate(MAX_BOXES):
                self._found[label - 1, :, place] += right[0, :, :most].sum(axis=-1)
            rows = np.zeros(len(scores), _ROW)
            rows["label"], rows["score"], rows["count"] = label, scores, 1
            rows["right"], rows["wrong"] = _pack(right), _pack(wrong)
            parts.append(rows)
        if sum(map(len, parts)):
            rows = np.concatenate(parts)
            if self._names is not None:
                rows["image"] = len(self._names)
                self._names.append(image.name)
            self._append(rows)

    def merge(self, other: Tally) -> None:
        """Add the counts of another tally of the same classes."""
        self.images += other.images
        for mine, others in (
            (self.objects, other.objects),
            (self.difficult, other.difficult),
            (self._asked, other._asked),
            (self._found, other._found),
        ):
            mine += others
        other.compact()
        for rows in other._parts:
            if self._names is not None and other._names is not None:
                rows = rows.copy()
                rows["image"] += len(self._names)
            self._append(rows)
        if self._names is not None and other._names is not None:
            self._names += other._names
        elif self._names is not None or other._lost_bits > self._lost_bits:
            self._coarsen(max(self._lost_bits, other._lost_bits))

    def _append(self, rows: Array) -> None:
        self._parts.append(rows)
        self._rows += len(rows)
        if self._rows > 2 * self._most_rows:
            self.compact()
        elif len(self._parts) > _MOST_PARTS:
            self._join()

    def _join(self) -> Array:
        joined = np.concatenate(self._parts) if self._parts else np.zeros(0, _ROW)
        self._parts = [joined] if len(joined) else []
        return joined

    def _coarsen(self, bits: int) -> None:
        """Leave out the last bits of all scores, and count rows that are equal then as one."""
        rows = self._join()
        rows["score"] = _drop_bits(rows["score"], bits)
        rows["image"] = 0
        self._lost_bits, self._names = bits, None
        order = np.lexsort([rows[name] for name in ("wrong", "right", "score", "label")])
        rows = rows[order]
        same = np.ones(max(0, len(rows) - 1), bool)
        for name in ("wrong", "right", "score", "label"):
            same &= rows[name][1:] == rows[name][:-1]
        begins = np.flatnonzero(np.concatenate([[True], ~same])) if len(rows) else np.zeros(0, np.int64)
        counts = np.add.reduceat(rows["count"], begins) if len(rows) else begins
        rows = rows[begins]
        rows["count"] = counts
        self._parts, self._rows = [rows], len(rows)

    def compact(self) -> None:
        """Make the tally small enough to send."""
        self._join()
        # Rows that came after scores have lost bits still have all of theirs.
        if self._rows > self._most_rows or self._names is None:
            self._coarsen(self._lost_bits)
        while self._rows > self._most_rows:
            self._coarsen(self._lost_bits + 1)

    def measure(self) -> CocoResult:
        """Return the metrics of all images that were added."""
        self.compact()
        rows = self._join()
        if self._names is None:
            order = np.lexsort([-rows["score"], rows["label"]])
        else:
            # Beam guarantees no order. Boxes of equal scores are judged in the order of their images' names.
            places = np.zeros(len(self._names), np.int64)
            places[sorted(range(len(places)), key=self._names.__getitem__)] = np.arange(len(places))
            order = np.lexsort([places[rows["image"]], -rows["score"], rows["label"]])
        rows = rows[order]
        ends = np.searchsorted(rows["label"], np.arange(1, self._num_classes + 2))
        curves = np.full((2, len(AREAS), len(IOUS), len(RECALLS), self._num_classes), np.nan)
        for k in range(self._num_classes):
            curves[..., k] = self._draw_curves(rows[ends[k] : ends[k + 1]], self._asked[k])
        precision, scores = curves
        with np.errstate(invalid="ignore"):
            # Nothing to find gives nan. [classes, IoU, number of boxes]
            recall = self._found / np.where(self._asked[:, 0], self._asked[:, 0], np.nan)[:, None, None]
        metrics = average_precisions(precision[0])
        metrics |= {f"map_{area}": average(precision[i]) for i, area in enumerate(AREAS) if i}
        metrics |= {f"ar_{count}": average(recall[:, :, i]) for i, count in enumerate(MAX_BOXES)}
        per_class = [
            {**average_precisions(precision[0, :, :, k]), "ar_100": average(recall[k, :, -1])}
            for k in range(self._num_classes)
        ]
        return CocoResult(
            metrics, per_class, precision[0], scores[0], self.images, self.objects, self.difficult
        )

    def _draw_curves(self, rows: Array, asked: Array) -> Array:
        """Return precision and scores of a class at all recalls: [2, AREAS, IOUS, RECALLS]."""
        curves = np.full((2, len(AREAS), len(IOUS), len(RECALLS)), np.nan)
        if self._names is None:
            steps = np.flatnonzero(np.concatenate([rows["score"][1:] != rows["score"][:-1], [True]]))
            steps = steps[: len(rows)]
        else:
            steps = np.arange(len(rows))
        scores = np.append(rows["score"][steps].astype(np.float64), 0.0)
        for bit in range(_JUDGEMENTS):
            area, place = divmod(bit, len(IOUS))
            if not asked[area]:
                continue
            right, wrong = (
                np.cumsum(rows["count"] * ((rows[name] & _BITS[bit]) != 0))[steps]
                for name in ("right", "wrong")
            )
            precision = right / (wrong + right + np.spacing(1))
            best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
            first = np.searchsorted(right / asked[area], RECALLS, side="left")
            curves[0, area, place] = np.append(best_from_here, 0.0)[first]
            curves[1, area, place] = scores[first]
        return curves


def evaluate(images: Sequence[Detections], num_classes: int) -> CocoResult:
    """Judge detections.

    Args:
        images: All images, including those without objects or without boxes found.
        num_classes: Labels are 1 to this.

    Raises:
        DataRefusedError: A label is out of range.
        MiranteError: A box or score that was found is not a finite number.
    """
    tally = Tally(num_classes)
    for image in images:
        tally.add(image)
    return tally.measure()


def _match(image: Detections) -> Iterator[tuple[int, Array, Array, Array, Array]]:
    """Have pycocotools judge an image, class by class.

    Yields:
        The label, scores [boxes], descending; which boxes are right and which are wrong, bool [AREAS, IOUS,
        boxes]; and the number of objects to find, int [AREAS].
    """
    labels = np.unique(np.concatenate([image.labels, image.found_labels])).tolist()
    if not labels:
        return
    evaluation = CocoEvaluation([image], labels)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints how long it takes
        evaluation.evaluate()
    for k, label in enumerate(labels):
        judged = evaluation.evalImgs[k * len(AREAS) : (k + 1) * len(AREAS)]
        matched = np.stack([np.asarray(each["dtMatches"]) > 0 for each in judged])
        counts = ~np.stack([np.asarray(each["dtIgnore"], bool) for each in judged])
        asked = np.array([int(np.sum(~np.asarray(each["gtIgnore"], bool))) for each in judged])
        yield label, np.array(judged[0]["dtScores"]), matched & counts, ~matched & counts, asked


def _pack(judgements: Array) -> Array:
    """Return the bits of judgements [AREAS, IOUS, boxes] as uint64 [boxes]."""
    flat = judgements.reshape(_JUDGEMENTS, -1)
    return np.asarray((flat * _BITS[:, None]).sum(axis=0, dtype=np.uint64))


def _drop_bits(scores: Array, bits: int) -> Array:
    """Return float32 scores, each lowered to the next number whose last bits are 0."""
    raw = np.ascontiguousarray(scores).view(np.int32).astype(np.int64)
    # As whole numbers in the order of the scores.
    level = (np.where(raw < 0, -(raw & _MAGNITUDE), raw) >> bits) << bits
    raw = np.where(level < 0, -level - _MAGNITUDE - 1, level)
    return raw.astype(np.int32).view(np.float32)
