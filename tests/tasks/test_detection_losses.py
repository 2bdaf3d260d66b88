"""A detector's losses, by numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.models.config import DetectionConfig
from components.tasks.detection.losses import (
    box_loss,
    classification_loss,
    compute_scores,
    divide_by_positives,
)
from components.tasks.detection.matching import Matches

ANCHORS = tf.constant([[0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 0.5], [0.0, 0.5, 0.5, 1.0]])


def matches(labels: list[int], counted: list[int] | None = None, box: list[float] | None = None) -> Matches:
    """The first anchors' labels; each of those above 0 is to give `box`, or itself."""
    anchors = ANCHORS[: len(labels)]
    boxes = tf.constant(box, tf.float32)[tf.newaxis] if box else anchors
    positive = tf.constant(labels)[:, tf.newaxis] > 0
    return Matches(
        tf.where(positive, boxes, 0.0)[tf.newaxis],
        tf.constant([labels]),
        tf.constant([counted or [1] * len(labels)], tf.float32),
    )


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def focal(probability_of_what_is: float, alpha: float) -> float:
    return -alpha * (1 - probability_of_what_is) ** 2 * math.log(probability_of_what_is)


def test_focal_loss_by_hand() -> None:
    # Two anchors, two classes: the first is a dog (2), and given 0.2 for a cat and 0.7 for a dog.
    logits = tf.constant([[[logit(0.2), logit(0.7)], [logit(0.1), logit(0.4)]]])
    expected = focal(0.8, 0.75) + focal(0.7, 0.25) + focal(0.9, 0.75) + focal(0.6, 0.75)
    config = DetectionConfig()
    assert float(classification_loss(logits, matches([2, 0]), config)[0]) == pytest.approx(expected, rel=1e-5)
    # One that does not count.
    found = classification_loss(logits, matches([2, 0], [1, 0]), config)
    assert float(found[0]) == pytest.approx(focal(0.8, 0.75) + focal(0.7, 0.25), rel=1e-5)


def test_without_focus_it_is_cross_entropy() -> None:
    logits = tf.constant([[[logit(0.2)], [logit(0.1)]]])
    config = DetectionConfig(focal_gamma=0.0, focal_alpha=0.5)
    expected = -0.5 * (math.log(0.2) + math.log(0.9))
    assert float(classification_loss(logits, matches([1, 0]), config)[0]) == pytest.approx(expected, rel=1e-5)


def softmax_logits(*backgrounds: float) -> tf.Tensor:
    """Anchors that give background these probabilities, and the only class the rest."""
    return tf.constant([[[math.log(p), math.log(1 - p)] for p in backgrounds]])


def test_the_worst_of_the_background_is_mined() -> None:
    config = DetectionConfig(classification_loss="hard_negative", negatives_per_positive=1.0)
    # A box that is given 0.6; of two backgrounds the one that is taken for a box with 0.7 counts.
    logits = softmax_logits(0.4, 0.9, 0.3)
    found = classification_loss(logits, matches([1, 0, 0]), config)
    assert float(found[0]) == pytest.approx(-math.log(0.6) - math.log(0.3), rel=1e-5)
    # One that does not count is not mined either.
    found = classification_loss(logits, matches([1, 0, 0], [1, 1, 0]), config)
    assert float(found[0]) == pytest.approx(-math.log(0.6) - math.log(0.9), rel=1e-5)
    # Without a box, as many as for one.
    found = classification_loss(logits, matches([0, 0, 0]), config)
    assert float(found[0]) == pytest.approx(-math.log(0.3), rel=1e-5)


def test_scores_have_no_background() -> None:
    config = DetectionConfig(classification_loss="hard_negative")
    assert config.num_logits(2) == 3
    logits = tf.math.log(tf.constant([[[0.2, 0.5, 0.3]]]))
    np.testing.assert_allclose(compute_scores(logits, config), [[[0.5, 0.3]]], rtol=1e-5)
    assert DetectionConfig().num_logits(2) == 2
    np.testing.assert_allclose(compute_scores(tf.constant([[[0.0]]]), DetectionConfig()), [[[0.5]]])


def test_smooth_l1_by_hand() -> None:
    config = DetectionConfig()
    # Off by 0.4 in x (a parabola), by 3 in the log of the height (a line).
    codes = tf.constant([[[0.4, 0.0, 0.0, -3.0], [9.0, 9.0, 9.0, 9.0]]])
    found = box_loss(codes, matches([1, 0]), ANCHORS[:2], config)
    assert float(found[0]) == pytest.approx(0.5 * 0.4**2 + 3.0 - 0.5, rel=1e-5)


def test_giou_loss_by_hand() -> None:
    config = DetectionConfig(box_loss="giou")
    # The anchor gives itself, and the box is its left half: an IoU of a half, the hull is the union.
    found = box_loss(tf.zeros([1, 1, 4]), matches([1], box=[0.0, 0.0, 0.25, 0.5]), ANCHORS[:1], config)
    assert float(found[0]) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("kind", ["smooth_l1", "giou"])
def test_without_boxes_there_is_nothing_to_place(kind: str) -> None:
    config = DetectionConfig.model_validate({"box_loss": kind})
    codes = tf.Variable(tf.random.stateless_normal([1, 3, 4], [0, 1]) * 100)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(box_loss(codes, matches([0, 0, 0]), ANCHORS, config))
    assert float(loss) == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, codes), np.zeros((1, 3, 4)))


def test_by_positive_anchors() -> None:
    assert divide_by_positives(tf.constant([6.0]), matches([1, 1, 0])).numpy() == [3.0]
    assert divide_by_positives(tf.constant([6.0]), matches([0, 0, 0])).numpy() == [6.0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"matched_iou": 0.3, "unmatched_iou": 0.4}, "unmatched_iou: expected at most matched_iou"),
        ({"min_scale": 0.9, "max_scale": 0.5}, "min_scale: expected at most max_scale"),
        ({"aspect_ratios": []}, "aspect_ratios: at least one"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DetectionConfig.model_validate(options)
