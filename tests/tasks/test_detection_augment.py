"""Augmentation of images with boxes: where boxes go, pixels go."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.tasks.detection.augment import crop_targets, make_augmenter, sample_windows
from components.trainer.augment.config import AugmentationConfig
from components.transform.levels import Levels

WINDOW = {
    "zoom_out": {"chance": 0.7, "largest": 3.0},
    "object_crop": {"chance": 0.8, "area": [0.2, 1.0]},
}
UNIT = Levels((0.0,) * 3, (1.0,) * 3)
PX = 64


def with_boxes(count: int = 16) -> tuple[tf.Tensor, tf.Tensor]:
    """Gray images with a rectangle in which red is 1 and its place is known; two more places for boxes."""
    rng = np.random.default_rng(0)
    images = np.full((count, PX, PX, 3), 0.25, np.float32)
    targets = np.zeros((count, 3, 5), np.float32)
    for number in range(count):
        x, y = rng.integers(0, PX // 2, 2)
        width, height = rng.integers(12, PX // 2 + 1, 2)
        images[number, y : y + height, x : x + width, 0] = 1.0
        label = (1, 2, -1)[number % 3]  # the last one difficult
        targets[number, 0] = [x / PX, y / PX, (x + width) / PX, (y + height) / PX, label]
    return tf.constant(images), tf.constant(targets)


@functools.cache
def prepared(options: str, seed: int) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    augment = make_augmenter(AugmentationConfig.model_validate_json(options), seed, UNIT)
    assert augment is not None
    return tf.function(augment)


def augmented(options: dict[str, Any], number: int = 0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    augment = prepared(json.dumps(options), seed)
    images, targets = augment(tf.constant(number, tf.int64), *with_boxes())
    return images.numpy(), targets.numpy()


def check_boxes_are_where_the_pixels_are(images: np.ndarray, targets: np.ndarray) -> int:
    """Return how many images still have their box."""
    seen = 0
    for image, target in zip(images, targets, strict=True):
        rows, columns = np.nonzero(image[..., 0] > 0.8)
        if target[0, 4] == 0:
            np.testing.assert_array_equal(target, 0)
            continue
        seen += 1
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        # The rim is blurred by at most a pixel of the enlarged image.
        np.testing.assert_allclose(np.array(found) / PX, target[0, :4], atol=2.5 / PX)
    return seen


@pytest.mark.parametrize("flip", ["horizontal", "vertical", "horizontal_and_vertical"])
def test_flips_take_boxes_along(flip: str) -> None:
    images, targets = augmented({"flip": flip})
    assert check_boxes_are_where_the_pixels_are(images, targets) == 16
    before = with_boxes()[1].numpy()
    moved = [not np.allclose(a, b) for a, b in zip(before, targets, strict=True)]
    assert 2 <= sum(moved) <= 15
    np.testing.assert_array_equal(targets[:, 0, 4], before[:, 0, 4])
    np.testing.assert_array_equal(targets[:, 1:], 0)


@pytest.mark.parametrize(
    "options", [{"zoom_out": WINDOW["zoom_out"]}, {"object_crop": {"chance": 1.0}}, WINDOW]
)
def test_windows_take_boxes_along(options: dict[str, Any]) -> None:
    for number in range(4):
        assert check_boxes_are_where_the_pixels_are(*augmented(options, number)) >= 14


def test_a_crop_overlaps_a_box_enough() -> None:
    # A part of an image that overlaps a box by half is nowhere larger than twice the box.
    _, targets = augmented({"object_crop": {"chance": 1.0, "area": [0.05, 0.5], "min_overlap": [0.5]}})
    sizes = (targets[:, 0, 2] - targets[:, 0, 0]) * (targets[:, 0, 3] - targets[:, 0, 1])
    before = with_boxes()[1].numpy()
    whole = np.isclose(targets, before).all(axis=(1, 2))  # no such part was found
    assert (~whole).sum() >= 8
    assert (sizes[~whole] >= 0.49).all()


@pytest.mark.slow
def test_the_same_batch_is_varied_in_the_same_way() -> None:
    everything = {"flip": "horizontal", **WINDOW, "brightness": 0.2, "saturation": 0.2, "erasing": 0.5}
    first = augmented(everything, 3, 1)
    prepared.cache_clear()  # as another process begins
    again, other, reseeded = (
        augmented(everything, number, seed) for number, seed in ((3, 1), (4, 1), (3, 2))
    )
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[0], reseeded[0])


def test_colours_leave_boxes_alone() -> None:
    _, targets = augmented({"brightness": 0.3, "contrast": 0.3, "hue": 0.1, "erasing": 1.0})
    np.testing.assert_array_equal(targets, with_boxes()[1])


def test_nothing_asked_for_is_nothing_done() -> None:
    assert make_augmenter(AugmentationConfig(), 0) is None
    assert make_augmenter(AugmentationConfig.model_validate({"zoom_out": {"largest": 3.0}}), 0) is None


def test_the_whole_window_is_the_image_to_the_last_bit() -> None:
    images = tf.random.stateless_uniform([3, 37, 51, 3], [0, 1])
    whole = tf.constant([[0.0, 0.0, 1.0, 1.0]] * 3)
    np.testing.assert_allclose(sample_windows(images, whole), images, atol=1e-5)


def test_a_window_by_hand() -> None:
    # The right half of a row 0 1 2 3, enlarged to four pixels: at 1.75, 2.25, 2.75, and at the edge.
    row = tf.reshape(tf.range(4, dtype=tf.float32), [1, 1, 4, 1])
    half = sample_windows(row, tf.constant([[0.5, 0.0, 1.0, 1.0]])).numpy().ravel()
    assert half == pytest.approx([1.75, 2.25, 2.75, 3.0], abs=1e-5)
    # Twice as large a frame around it: the row in the middle, nothing at both ends.
    frame = sample_windows(row, tf.constant([[-0.5, 0.0, 1.5, 1.0]])).numpy().ravel()
    assert frame == pytest.approx([0.0, 0.5, 2.5, 0.0], abs=1e-5)


def test_what_is_left_of_boxes_by_hand() -> None:
    targets = tf.constant(
        [
            [
                [0.5, 0.5, 1.0, 1.0, 1.0],  # inside
                [0.4, 0.5, 0.8, 1.0, 2.0],  # its centre is, a quarter is cut off
                [0.1, 0.5, 0.8, 1.0, 3.0],  # its centre is not
                [0.5, 0.0, 1.0, 0.5, -1.0],  # inside, and difficult
                [0.0, 0.0, 0.0, 0.0, 0.0],
            ]
        ]
    )
    left = crop_targets(targets, tf.constant([[0.5, 0.0, 1.0, 1.0]])).numpy()[0]
    np.testing.assert_allclose(left[0], [0.0, 0.5, 1.0, 1.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(left[1], [0.0, 0.5, 0.6, 1.0, 2.0], atol=1e-6)
    np.testing.assert_array_equal(left[2], 0)
    np.testing.assert_allclose(left[3], [0.0, 0.0, 1.0, 0.5, -1.0], atol=1e-6)
    np.testing.assert_array_equal(left[4], 0)
