"""Boxes, anchors and matching, by numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from components.models.anchors import make_anchors, scales, shapes
from components.models.config import DetectionConfig
from components.tasks.detection.geometry import (
    area,
    clip,
    decode,
    encode,
    from_window,
    giou,
    iou,
    pairwise_iou,
    to_window,
)
from components.tasks.detection.matching import match

UNIT = [0.0, 0.0, 1.0, 1.0]
LEFT = [0.0, 0.0, 0.5, 1.0]
EMPTY = [0.0, 0.0, 0.0, 0.0]


def boxes(*rows: list[float]) -> tf.Tensor:
    return tf.constant(rows, tf.float32)


@pytest.mark.parametrize(
    ("one", "other", "expected_iou", "expected_giou"),
    [
        (UNIT, UNIT, 1.0, 1.0),
        (UNIT, LEFT, 0.5, 0.5),  # the hull is the union
        # A third: they share 0.5 x 1 of 1.5 x 1.
        ([0.0, 0.0, 1.0, 1.0], [0.5, 0.0, 1.5, 1.0], 1 / 3, 1 / 3),
        # Apart: the hull is 3 wide, a third of it is of neither.
        ([0.0, 0.0, 1.0, 1.0], [2.0, 0.0, 3.0, 1.0], 0.0, -1 / 3),
        # Corner to corner: 1 of 7 shared, the hull 9, of which 2 are of neither.
        ([0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0], 1 / 7, 1 / 7 - 2 / 9),
        (UNIT, EMPTY, 0.0, 0.0),
        (EMPTY, EMPTY, 0.0, 0.0),
    ],
)
def test_overlaps_by_hand(
    one: list[float], other: list[float], expected_iou: float, expected_giou: float
) -> None:
    for a, b in ((one, other), (other, one)):
        assert float(iou(boxes(a), boxes(b))[0]) == pytest.approx(expected_iou, abs=1e-6)
        assert float(giou(boxes(a), boxes(b))[0]) == pytest.approx(expected_giou, abs=1e-6)


def test_every_box_with_every_other() -> None:
    found = pairwise_iou(boxes(UNIT, LEFT), boxes(UNIT, [0.5, 0.0, 1.0, 1.0], EMPTY))
    np.testing.assert_allclose(found, [[1.0, 0.5, 0.0], [0.5, 0.0, 0.0]], atol=1e-6)


def test_what_ends_before_it_begins_has_no_area() -> None:
    assert area(boxes([0.5, 0.0, 0.2, 1.0], [0.1, 0.2, 0.4, 0.7])).numpy() == pytest.approx([0.0, 0.15])


def test_clipping() -> None:
    np.testing.assert_allclose(clip(boxes([-0.5, 0.2, 0.7, 1.3])), [[0.0, 0.2, 0.7, 1.0]])


def test_codes_by_hand() -> None:
    # The anchor: centre (0.5, 0.5), 0.4 wide, 0.2 high. The box: a tenth to the right, twice as wide.
    anchor, box = [0.3, 0.4, 0.7, 0.6], [0.2, 0.4, 1.0, 0.6]
    codes = encode(boxes(box), boxes(anchor)).numpy()[0]
    assert codes == pytest.approx([0.1 / 0.4 / 0.1, 0.0, math.log(2) / 0.2, 0.0], abs=1e-5)
    assert encode(boxes(anchor), boxes(anchor)).numpy()[0] == pytest.approx([0.0] * 4, abs=1e-6)


def test_codes_and_back() -> None:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 1, (500, 2, 2)), axis=1).reshape(500, 4).astype(np.float32)
    corners[:, 2:] += 0.01
    anchors = make_anchors(DetectionConfig(), [(5, 5)])[rng.integers(0, 150, 500)]
    again = decode(encode(tf.constant(corners), tf.constant(anchors)), tf.constant(anchors))
    np.testing.assert_allclose(again, corners, atol=1e-5)


def test_codes_of_nothing_are_finite() -> None:
    assert np.isfinite(encode(boxes(EMPTY), boxes(UNIT))).all()
    assert np.isfinite(decode(boxes([1e9, -1e9, 1e9, -1e9]), boxes(UNIT))).all()


# --- anchors


def test_six_anchors_at_each_place_of_each_map() -> None:
    # The published 1,917 have three at each place of the finest map; here there are six everywhere.
    maps = [(19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)]
    anchors = make_anchors(DetectionConfig(), maps)
    assert anchors.shape == (6 * (361 + 100 + 25 + 9 + 4 + 1), 4)
    assert anchors.dtype == np.float32


def test_anchors_by_hand() -> None:
    config = DetectionConfig(min_scale=0.2, max_scale=0.5, aspect_ratios=(1.0, 4.0), extra_layers=0)
    assert scales(config, 2) == pytest.approx([0.2, 0.5])
    # A ratio of 4 is twice as wide and half as high; the last square is between this scale and the next.
    assert np.array(shapes(config, 2)).ravel() == pytest.approx(
        [0.2, 0.2, 0.4, 0.1, *[math.sqrt(0.1)] * 2, 0.5, 0.5, 1.0, 0.25, *[math.sqrt(0.5)] * 2]
    )
    anchors = make_anchors(config, [(2, 3), (1, 1)])
    assert len(anchors) == 3 * (2 * 3 + 1)
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    # Rows first: x runs faster than y, and a place's anchors are together.
    np.testing.assert_allclose(centres[0:9:3], [[1 / 6, 0.25], [0.5, 0.25], [5 / 6, 0.25]], atol=1e-6)
    np.testing.assert_allclose(centres[9], [1 / 6, 0.75], atol=1e-6)
    np.testing.assert_allclose(centres[-3:], [[0.5, 0.5]] * 3, atol=1e-6)
    np.testing.assert_allclose(anchors[1], [1 / 6 - 0.2, 0.2, 1 / 6 + 0.2, 0.3], atol=1e-6)


def test_scales_may_be_given() -> None:
    config = DetectionConfig(scales=(0.1, 0.3, 0.8), extra_layers=1)
    assert scales(config, 3) == [0.1, 0.3, 0.8]
    with pytest.raises(ValueError, match="scales: expected one for each of 3 feature maps"):
        DetectionConfig(scales=(0.1, 0.3), extra_layers=1)


# --- matching

QUARTERS = boxes([0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 0.5], [0.0, 0.5, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0])
CONFIG = DetectionConfig()


def matched(of_image: list[list[float]], labels: list[int], anchors: tf.Tensor = QUARTERS) -> object:
    return match(tf.constant([of_image]), tf.constant([labels]), anchors, CONFIG)


def test_an_anchor_answers_for_the_box_that_it_overlaps_most() -> None:
    # Two boxes over the first anchor: 0.6 of it and 0.8 of it.
    first, second = [0.0, 0.0, 0.3, 0.5], [0.0, 0.0, 0.4, 0.5]
    matches = matched([first, second, EMPTY], [1, 2, 0])
    assert matches.labels.numpy().tolist() == [[2, 0, 0, 0]]
    np.testing.assert_allclose(matches.boxes[0, 0], second)
    np.testing.assert_allclose(matches.boxes[0, 1:], 0.0)
    assert matches.positive.numpy().tolist() == [[1, 0, 0, 0]]


def test_a_box_has_an_anchor_however_little_they_overlap() -> None:
    # A twentieth of the last anchor.
    small = [0.9, 0.9, 1.0, 1.0]
    matches = matched([small], [1])
    assert matches.labels.numpy().tolist() == [[0, 0, 0, 1]]
    np.testing.assert_allclose(matches.boxes[0, 3], small)


def test_a_small_box_takes_its_anchor_from_one_that_overlaps_it_more_but_not_from_its_best() -> None:
    # The wide box is best met by the first anchor (0.5, as much as by the second: the first of equals); the
    # small one only meets the second, which the wide one would have too.
    wide, small = [0.0, 0.0, 1.0, 0.5], [0.9, 0.0, 1.0, 0.1]
    matches = matched([wide, small], [1, 2])
    assert matches.labels.numpy().tolist() == [[1, 2, 0, 0]]


def test_of_two_boxes_that_want_one_anchor_the_better_one_has_it() -> None:
    poor, good = [0.0, 0.0, 0.2, 0.2], [0.0, 0.0, 0.3, 0.3]
    assert matched([poor, good], [1, 2]).labels.numpy().tolist() == [[2, 0, 0, 0]]
    assert matched([good, poor], [1, 2]).labels.numpy().tolist() == [[1, 0, 0, 0]]
    assert matched([good, good], [1, 2]).labels.numpy().tolist() == [[1, 0, 0, 0]]


def test_between_both_bounds_an_anchor_does_not_count() -> None:
    # The box is the first anchor and 0.45 of the second: 0.45 x 0.5 of 0.95 x 0.5 and the rest, 0.45 IoU.
    anchors = boxes([0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 0.45, 0.5], [0.0, 0.0, 0.3, 0.5], [0.0, 0.0, 0.5, 0.5])
    matches = matched([[0.0, 0.0, 1.0, 0.5]], [1], anchors)
    assert matches.labels.numpy().tolist() == [[1, 0, 0, 1]]
    assert matches.counted.numpy().tolist() == [[1, 0, 1, 1]]


def test_what_is_on_a_difficult_object_does_not_count() -> None:
    # The difficult box is 0.6 of the first anchor; the other one is the last anchor.
    spared, box = [0.0, 0.0, 0.3, 0.5], [0.5, 0.5, 1.0, 1.0]
    matches = matched([spared, box], [-1, 2])
    assert matches.labels.numpy().tolist() == [[0, 0, 0, 2]]
    assert matches.counted.numpy().tolist() == [[0, 1, 1, 1]]
    # A twentieth of an anchor: what it overlaps most is spared too, as it would be its.
    matches = matched([[0.9, 0.9, 1.0, 1.0]], [-1])
    assert matches.labels.numpy().tolist() == [[0, 0, 0, 0]]
    assert matches.counted.numpy().tolist() == [[1, 1, 1, 0]]


def test_a_difficult_object_takes_no_anchor_from_others() -> None:
    # It is the first anchor to the edge, and the other box is 0.6 of it.
    spared, box = [0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.3, 0.5]
    matches = matched([spared, box], [-1, 2])
    assert matches.labels.numpy().tolist() == [[2, 0, 0, 0]]
    assert matches.counted.numpy().tolist() == [[1, 1, 1, 1]]
    np.testing.assert_allclose(matches.boxes[0, 0], box)


def test_difficult_objects_may_be_trained_on() -> None:
    spared, box = [0.0, 0.0, 0.3, 0.5], [0.5, 0.5, 1.0, 1.0]
    config = DetectionConfig(train_on_difficult=True)
    matches = match(tf.constant([[spared, box]]), tf.constant([[-1, 2]]), QUARTERS, config)
    assert matches.labels.numpy().tolist() == [[1, 0, 0, 2]]
    assert matches.counted.numpy().tolist() == [[1, 1, 1, 1]]


def test_a_window_of_an_image_and_back() -> None:
    # The lower half: a box of its middle is at 3/8 to 5/8 and 5/8 to 7/8 of the image.
    half, seen = tf.constant([0.0, 0.5, 1.0, 1.0]), tf.constant([0.375, 0.25, 0.625, 0.75])
    whole = from_window(seen, half)
    np.testing.assert_allclose(whole, [0.375, 0.625, 0.625, 0.875])
    np.testing.assert_allclose(to_window(whole, half), seen)


def test_an_image_without_boxes_is_background() -> None:
    matches = matched([EMPTY, EMPTY], [0, 0])
    assert matches.labels.numpy().tolist() == [[0, 0, 0, 0]]
    assert matches.counted.numpy().tolist() == [[1, 1, 1, 1]]
