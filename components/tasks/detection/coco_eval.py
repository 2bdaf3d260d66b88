"""COCO's metrics of detections, by pycocotools. Imports no TensorFlow.

The metrics, as https://cocodataset.org/#detection-eval defines them:

    map           mean average precision: over IoU 0.50, 0.55, ... 0.95, and over the classes
    map_50        the same at IoU 0.50 only; map_75 at 0.75
    map_small     map of objects of at most 32 x 32 pixels of the image as it is in its record; map_medium of
                  objects up to 96 x 96, map_large of larger ones (32 x 32 itself is both small and medium)
    ar_1          mean recall, over the same IoUs and classes, of the best box of a class and image;
                  ar_10 and ar_100 of the best ten and hundred

Details that make a difference:

- A class with no object to find has no precision and is left out of the means.
- The 100 boxes with the highest scores of each class and image count; others are cut off.
- Boxes with equal scores are judged in the order of their images' names. A score of 0 is a score like any
  other.
- A difficult object (Pascal VOC) need not be found, and boxes on it, any number of them, are neither right
  nor wrong. As for any object, a box is on it by IoU. COCO's `iscrowd` is different: it measures a box by the
  share of the box that is inside the crowd, so any small box inside would pass.
"""

import collections
import contextlib
import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask
from pycocotools.cocoeval import COCOeval

from components.base.arrays import Array
from components.base.errors import DataRefusedError, MiranteError
from components.tasks.detection.rounding import sure_decimals

IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
# pycocotools' own values: the first area is any size, the last number is used for the precision.
AREAS = ("all", "small", "medium", "large")
MAX_BOXES = (1, 10, 100)


@dataclasses.dataclass(frozen=True)
class Detections:
    """The objects on an image, and the boxes that a model found there.

    Boxes are (xmin, ymin, xmax, ymax), float32, as shares 0..1 of the image's width and height; labels are
    int64, 1 .. number of classes.

    Attributes:
        name: Name of the image, for reports.
        height: Height of the image, pixels.
        width: Width of the image, pixels.
        boxes: [objects, 4].
        labels: [objects].
        difficult: bool [objects]: those that need not be found.
        found_boxes: [found, 4].
        found_labels: [found].
        scores: float32 [found], in any order.
    """

    name: str
    height: int
    width: int
    boxes: Array
    labels: Array
    difficult: Array
    found_boxes: Array
    found_labels: Array
    scores: Array


@dataclasses.dataclass(frozen=True)
class CocoResult:
    """The metrics of a `Tally`; see the module's docstring.

    Attributes:
        metrics: Values by name; nan if there is nothing to judge by, such as no small object.
        per_class: By label - 1: `map`, `map_50`, `map_75`, `ar_100` of the class.
        precision: float64 [IOUS, RECALLS, classes], nan for a class without objects.
        scores: The same shape: the lowest score that reaches that recall.
        images: Number of images.
        objects: Objects to find by label - 1: int64 [classes].
        difficult: Difficult objects by label - 1: int64 [classes].
    """

    metrics: dict[str, float]
    per_class: list[dict[str, float]]
    precision: Array
    scores: Array
    images: int
    objects: Array
    difficult: Array


def in_pixels(boxes: Array, height: int, width: int) -> Array:
    """Convert boxes from shares to pixels, rounded to the decimals that shares can tell (`sure_decimals`).

    Args:
        boxes: [N, 4] (xmin, ymin, xmax, ymax), as shares.
        height: Height of the image in pixels; 1 to keep shares.
        width: Width of the image in pixels; 1 to keep shares.

    Returns:
        float64 [N, 4] (x, y, width, height) in pixels, in pycocotools' order.
    """
    corners = np.asarray(boxes, np.float64).reshape(-1, 4) * (width, height, width, height)
    pixels = np.empty_like(corners)
    for axis, size in enumerate((width, height)):
        decimals = sure_decimals(size)
        low, high = np.round(corners[:, axis], decimals), np.round(corners[:, axis + 2], decimals)
        pixels[:, axis] = low
        pixels[:, axis + 2] = np.round(np.maximum(high - low, 0.0), decimals)
    return pixels


def iou(found: Array, truth: Array) -> Array:
    """Return the intersection over union, float64 [found, truth], of boxes that `in_pixels` returned."""
    if not len(found) or not len(truth):
        return np.zeros((len(found), len(truth)))
    return np.asarray(mask.iou(found, truth, [0] * len(truth)))


class CocoEvaluation(COCOeval):  # type: ignore[misc]
    """pycocotools' evaluation of detections in memory, with difficult objects as described above."""

    def __init__(self, images: Sequence[Detections], labels: Sequence[int]):
        super().__init__(iouType="bbox")
        self._images = images
        self.params.imgIds = list(range(len(images)))
        self.params.catIds = list(labels)

    def _prepare(self) -> None:
        self._gts = collections.defaultdict(list)
        self._dts = collections.defaultdict(list)
        self.evalImgs: list[Any] = []
        self.eval: dict[str, Any] = {}
        number = 0  # the first id is 1: pycocotools uses 0 for unmatched
        for image_id, image in enumerate(self._images):
            truth = in_pixels(image.boxes, image.height, image.width)
            for box, label, difficult in zip(truth, image.labels, image.difficult, strict=True):
                number += 1
                # `iscrowd` lets any number of boxes match it; `computeIoU` below measures it like others.
                ignored = int(difficult)
                self._gts[image_id, int(label)].append(
                    {
                        "id": number,
                        "bbox": box,
                        "area": box[2] * box[3],
                        "ignore": ignored,
                        "iscrowd": ignored,
                    }
                )
            found = in_pixels(image.found_boxes, image.height, image.width)
            for box, label, score in zip(found, image.found_labels, image.scores, strict=True):
                number += 1
                self._dts[image_id, int(label)].append(
                    {"id": number, "bbox": box, "area": box[2] * box[3], "score": float(score)}
                )

    def computeIoU(self, imgId: int, catId: int) -> Array:  # noqa: N802, N803 - pycocotools' names
        """Return the IoU of an image's boxes and objects of a class."""
        truth, found = self._gts[imgId, catId], self._dts[imgId, catId]
        if not truth or not found:
            return np.zeros((0, 0))
        # The rows are in the order of `evaluateImg`.
        order = np.argsort([-each["score"] for each in found], kind="mergesort")[: self.params.maxDets[-1]]
        return iou(np.stack([found[i]["bbox"] for i in order]), np.stack([each["bbox"] for each in truth]))


def check_image(image: Detections, num_classes: int) -> None:
    """Check that an image can be judged.

    Raises:
        DataRefusedError: A label is out of range.
        MiranteError: A box or score that was found is not a finite number.
    """
    for labels in (image.labels, image.found_labels):
        if labels.size and not 1 <= labels.min() <= labels.max() <= num_classes:
            raise DataRefusedError(
                f"{image.name}: a box has label {labels.min()} or {labels.max()}, and there are classes "
                f"1 to {num_classes}: is the model of other classes than the records?"
            )
    if not (np.isfinite(image.scores).all() and np.isfinite(image.found_boxes).all()):
        raise MiranteError(
            f"{image.name}: the model's boxes or scores are not all finite numbers: its weights are "
            "not either; train again with a lower training.learning_rate"
        )


def average(values: Array) -> float:
    """Return the mean of the values that are not nan; nan if there are none."""
    there = values[~np.isnan(values)]
    # pycocotools divides by slightly too much, so a threshold of 1 could not be met.
    return round(float(there.mean()), 12) if there.size else math.nan


def average_precisions(precision: Array) -> dict[str, float]:
    """Return `map`, `map_50` and `map_75` of precisions [IOUS, RECALLS, ...]."""
    at_50, at_75 = (int(np.argmin(np.abs(IOUS - value))) for value in (0.5, 0.75))
    return {
        "map": average(precision),
        "map_50": average(precision[at_50]),
        "map_75": average(precision[at_75]),
    }


def mean_over(result: CocoResult, classes: Sequence[int]) -> dict[str, float]:
    """Return `map`, `map_50` and `map_75` over some classes alone, each given by its label - 1."""
    return average_precisions(result.precision[:, :, list(classes)])


def map_50(images: Sequence[Detections], num_classes: int) -> float:
    """Return only `map_50`, which steers a training, for a fortieth of the work; nan without objects.

    Args:
        images: The same as for `evaluate`; their sizes do not matter.
        num_classes: Labels are 1 to this.
    """
    evaluation = CocoEvaluation(images, range(1, num_classes + 1))
    params = evaluation.params
    params.iouThrs, params.maxDets = np.array([0.5]), [MAX_BOXES[-1]]
    params.areaRng, params.areaRngLbl = params.areaRng[:1], params.areaRngLbl[:1]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"]
    return average(np.where(precision < 0, np.nan, precision))
