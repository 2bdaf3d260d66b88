"""95 % confidence intervals of `map`, `map_50` and `map_75`: the percentile bootstrap over images.

COCO's matching of boxes and objects looks at one image at a time. So it is done once, and each draw only
weighs the matches of an image by how often the image was drawn. Imports no TensorFlow.
"""

import contextlib
import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.base.arrays import Array
from components.base.intervals import LEAST_RESAMPLES, RESAMPLES, SEED, Interval, bootstrap_interval
from components.tasks.detection.coco_eval import IOUS, MAX_BOXES, RECALLS, CocoEvaluation, Detections

# The work that drawing may cost: boxes that are judged at all IoUs, about two seconds.
_MOST_WORK = 40_000_000
_PLACES = {"map": slice(None), "map_50": slice(0, 1), "map_75": slice(5, 6)}


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


def find_intervals(draws: Mapping[str, Sequence[float]]) -> dict[str, Interval]:
    """Return the intervals by metric from what `draw_metrics` returns."""
    found = {name: bootstrap_interval(np.array(values)) for name, values in draws.items()}
    return {name: interval for name, interval in found.items() if interval is not None}


def draw_metrics(images: Sequence[Detections], num_classes: int) -> dict[str, list[float]]:
    """Return metrics on drawn splits by name; empty without images, or if there are too many boxes.

    Args:
        images: All images of the split, in the order of their names.
        num_classes: The number of classes.
    """
    asked = sorted({int(label) for image in images for label in image.labels[~image.difficult]})
    # Before they are matched, which takes some 10 kB for an image with 100 boxes.
    boxes = sum(int(np.isin(image.found_labels, asked).sum()) for image in images)
    resamples = min(RESAMPLES, _MOST_WORK // max(1, len(IOUS) * boxes))
    if not asked or resamples < LEAST_RESAMPLES:
        return {}
    matches = [each for each in match(images, num_classes) if each.objects.any()]
    generator = np.random.default_rng(SEED)
    chance = np.full(len(images), 1.0 / len(images))
    drawn = np.array([measure(matches, generator.multinomial(len(images), chance)) for _ in range(resamples)])
    return {name: drawn[:, place].mean(axis=1).tolist() for name, place in _PLACES.items()}


def measure(matches: Sequence[ClassMatches], weights: Array) -> Array:
    """Return the mean average precision at each IoU [IOUS], images counted as often as `weights` says."""
    values = [
        _average_precision(each, weights[each.images], objects)
        for each in matches
        if (objects := int(weights @ each.objects))
    ]
    return np.mean(values, axis=0) if values else np.full(len(IOUS), np.nan)


def _average_precision(found: ClassMatches, weights: Array, objects: int) -> Array:
    """Return COCO's average precision of a class at each IoU [IOUS]."""
    hits = np.cumsum(found.right * weights, axis=1)
    misses = np.cumsum(found.wrong * weights, axis=1)
    precision = hits / np.maximum(hits + misses, 1)
    best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    averages = np.zeros(len(IOUS))
    for place, (hit, best) in enumerate(zip(hits, best_from_here, strict=True)):
        first = np.searchsorted(hit / objects, RECALLS, side="left")
        averages[place] = np.append(best, 0.0)[first].mean()
    return averages


def match(images: Sequence[Detections], num_classes: int) -> list[ClassMatches]:
    """Return the judged boxes of each class, by label - 1."""
    evaluation = CocoEvaluation(images, range(1, num_classes + 1))
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
