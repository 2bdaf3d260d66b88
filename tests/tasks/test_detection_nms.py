"""Which boxes are served: by hand, and as TensorFlow's own op has it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from components.models.config import DetectionConfig
from components.tasks.detection.nms import best_boxes


def found(
    boxes: list[list[float]], scores: list[list[float]], **options: float
) -> tuple[list[list[float]], list[float], list[int]]:
    """Return what was found on one image, without its padding."""
    config = DetectionConfig.model_validate({"max_detections": 5, **options})
    given = best_boxes(tf.constant([boxes]), tf.constant([scores]), config)
    assert [tuple(part.shape) for part in given] == [(1, 5, 4), (1, 5), (1, 5)]
    assert given[2].dtype == tf.int64
    count = int((given[2] > 0).numpy().sum())
    for part in given:
        assert not part.numpy()[0, count:].any()
    return tuple(part.numpy()[0, :count].tolist() for part in given)


A, B, C = [0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 0.4], [0.5, 0.5, 1.0, 1.0]  # A and B overlap by 0.8


def test_a_worse_box_of_the_same_class_is_dropped() -> None:
    boxes, scores, labels = found([A, B, C], [[0.5], [0.75], [0.25]])
    assert labels == [1, 1]
    assert scores == [0.75, 0.25]
    np.testing.assert_allclose(boxes, [B, C])


def test_a_box_of_another_class_stays() -> None:
    _, scores, labels = found([A, B], [[0.5, 0.0], [0.0, 0.75]])
    assert labels == [2, 1]
    assert scores == [0.75, 0.5]


def test_one_place_may_be_two_classes() -> None:
    assert found([A], [[0.25, 0.5]])[2] == [2, 1]


def test_what_is_dropped_drops_nothing() -> None:
    # The second overlaps the first and the third, the first and the third overlap little: the third stays.
    chain = [[0.0, 0.0, 0.4, 1.0], [0.1, 0.0, 0.5, 1.0], [0.2, 0.0, 0.6, 1.0]]
    boxes, scores, _ = found(chain, [[0.9], [0.8], [0.7]], nms_iou=0.5)
    np.testing.assert_allclose(boxes, [chain[0], chain[2]])
    assert scores == pytest.approx([0.9, 0.7])


def test_of_equal_scores_the_first_is_taken() -> None:
    boxes, _, _ = found([A, B], [[0.5], [0.5]])
    np.testing.assert_allclose(boxes, [A])


def test_low_scores_and_what_is_too_many_are_left_out() -> None:
    assert found([A, C], [[0.5], [0.0625]], min_score=0.125)[1] == [0.5]
    apart = [[0.1 * i, 0.0, 0.1 * i + 0.05, 0.1] for i in range(9)]
    _, scores, _ = found(apart, [[0.1 * (i + 1)] for i in range(9)])
    assert scores == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5])
    assert found([A, C], [[0.001], [0.002]]) == ([], [], [])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_as_tensorflows_own_op_has_it(jit_compile: bool) -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 0.7, (4, 60, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.1, 0.4, (4, 60, 2))], axis=-1).astype(np.float32)
    scores = rng.uniform(0, 1, (4, 60, 3)).astype(np.float32)
    config = DetectionConfig(max_detections=40, nms_iou=0.4, min_score=0.1)
    ours = tf.function(lambda b, s: best_boxes(b, s, config), jit_compile=jit_compile)(boxes, scores)
    theirs = tf.image.combined_non_max_suppression(
        boxes[:, :, np.newaxis], scores, 60, 40, 0.4, 0.1, clip_boxes=False
    )
    np.testing.assert_allclose(ours[0], theirs.nmsed_boxes, atol=1e-6)
    np.testing.assert_allclose(ours[1], theirs.nmsed_scores, atol=1e-6)
    there = theirs.nmsed_scores.numpy() > 0
    np.testing.assert_array_equal(ours[2], theirs.nmsed_classes.numpy() + there)
