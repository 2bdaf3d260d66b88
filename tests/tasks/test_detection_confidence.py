"""Intervals of a detector's metrics: the matches that are drawn are COCO's."""

from __future__ import annotations

import numpy as np
import pytest

from components.tasks.detection.coco_eval import Detections
from components.tasks.detection.confidence import draw_metrics, find_intervals, match, measure
from components.tasks.detection.tally import evaluate

pytestmark = pytest.mark.stack_free


def make_images(count: int, difficult: float = 0.15) -> list[Detections]:
    """Images with objects of two classes, boxes near them, and others at random."""
    random = np.random.default_rng(0)
    images = []
    for place in range(count):
        objects, others = int(random.integers(0, 4)), int(random.integers(0, 9))
        corners = random.random((objects, 2)) * 0.6
        boxes = np.concatenate([corners, corners + 0.3], axis=1).astype(np.float32)
        wrong = random.random((others, 2)) * 0.7
        near = boxes + random.normal(0, 0.03, boxes.shape)
        found = np.clip(np.concatenate([near, np.concatenate([wrong, wrong + 0.2], axis=1)]), 0, 1)
        labels = random.integers(1, 3, objects)
        images.append(
            Detections(
                str(place),
                100,
                120,
                boxes,
                labels,
                random.random(objects) < difficult,
                found.astype(np.float32),
                np.concatenate([labels, random.integers(1, 3, others)]),
                random.random(len(found)).astype(np.float32),
            )
        )
    return images


def test_each_image_drawn_once_gives_cocos_own_metrics() -> None:
    images = make_images(40)
    by_iou = measure(match(images, 2), np.ones(40, np.int64))
    metrics = evaluate(images, 2).metrics
    assert by_iou.mean() == pytest.approx(metrics["map"], abs=1e-9)
    assert (by_iou[0], by_iou[5]) == pytest.approx((metrics["map_50"], metrics["map_75"]), abs=1e-9)


def test_an_image_drawn_twice_counts_as_two() -> None:
    images = make_images(12)
    weights = np.array([2, 0, 1] * 4)
    drawn = [image for image, weight in zip(images, weights, strict=True) for _ in range(weight)]
    assert measure(match(images, 2), weights)[0] == pytest.approx(
        evaluate(drawn, 2).metrics["map_50"], abs=1e-9
    )


def test_an_interval_holds_the_metric() -> None:
    images = make_images(40)
    metrics = evaluate(images, 2).metrics
    intervals = find_intervals(draw_metrics(images, 2))
    assert list(intervals) == ["map", "map_50", "map_75"]
    for name, interval in intervals.items():
        assert interval.low < metrics[name] < interval.high


def test_there_is_no_interval_without_objects_or_images() -> None:
    assert draw_metrics([], 2) == {}
    assert draw_metrics(make_images(3, difficult=1.0), 2) == {}
