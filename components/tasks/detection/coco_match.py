"""The boxes that pycocotools matched with objects, class by class. Imports no TensorFlow."""

import contextlib
import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from components.tasks.detection.coco_eval import IOUS, MAX_BOXES, CocoEvaluation, Detections

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class ClassMatches:
    """The boxes that were found of a class, the highest scores first, as COCO's rules judge them.

    Attributes:
        images: Index of the image of each box [boxes].
        right: Whether a box is on an object, at each IoU: bool [IOUS, boxes].
        wrong: Whether it is not: bool [IOUS, boxes]. Boxes on difficult objects are neither.
        objects: Number of objects to find on each image [images].
    """

    images: Array
    right: Array
    wrong: Array
    objects: Array


def match(images: Sequence[Detections], num_classes: int) -> list[ClassMatches]:
    """Return the judged boxes of each class, by label - 1."""
    evaluation = CocoEvaluation(images, num_classes)
    params = evaluation.params
    params.maxDets = [MAX_BOXES[-1]]
    params.areaRng, params.areaRngLbl = params.areaRng[:1], params.areaRngLbl[:1]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
    count = len(images)
    return [_join_matches(evaluation.evalImgs[k * count : (k + 1) * count]) for k in range(num_classes)]


def _join_matches(by_image: Sequence[Any]) -> ClassMatches:
    """Return the matches of a class from pycocotools' results by image, None for an image without any box."""
    there = [(place, each) for place, each in enumerate(by_image) if each is not None]
    empty = np.zeros((len(IOUS), 0), bool)
    places = [np.full(len(each["dtScores"]), place) for place, each in there]
    scores = np.concatenate([np.zeros(0), *(each["dtScores"] for _, each in there)])
    order = np.argsort(-scores, kind="mergesort")
    matched = np.concatenate([empty, *(np.asarray(each["dtMatches"]) > 0 for _, each in there)], axis=1)
    ignored = np.concatenate([empty, *(np.asarray(each["dtIgnore"], bool) for _, each in there)], axis=1)
    objects = np.zeros(len(by_image), np.int64)
    for place, each in there:
        objects[place] = int(np.sum(~np.asarray(each["gtIgnore"], bool)))
    return ClassMatches(
        np.concatenate([np.zeros(0, np.int64), *places])[order],
        (matched & ~ignored)[:, order],
        (~matched & ~ignored)[:, order],
        objects,
    )
