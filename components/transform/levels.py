"""The values that Transform gives black and white, which bring pixels back to 0..1.

Every normalization is linear in a pixel, channel by channel, so these two levels describe it, including
`standardize`, whose mean and deviation only the Transform graph holds.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.base.arrays import Array
from components.transform.config import TransformConfig
from components.transform.pixels import IMAGE, normalize
from schemas import features


@dataclasses.dataclass(frozen=True)
class Levels:
    """The levels of images float32 [N, H, W, C].

    Attributes:
        black: The level of black in each channel, in the order of the channels.
        white: The same for white.
        bgr: Whether blue comes first.
    """

    black: tuple[float, ...]
    white: tuple[float, ...]
    bgr: bool = False

    @property
    def channels(self) -> int:
        """1 or 3."""
        return len(self.black)

    def to_unit(self, images: Any) -> Any:
        """Return normalised images as RGB with black 0 and white 1."""
        black, white = (np.array(level, np.float32) for level in (self.black, self.white))
        unit = _linear(images, 1 / (white - black), -black / (white - black))
        return unit[..., ::-1] if self.bgr else unit

    def from_unit(self, unit: Any) -> Any:
        """Return images from `to_unit` normalised again."""
        black, white = (np.array(level, np.float32) for level in (self.black, self.white))
        return _linear(unit[..., ::-1] if self.bgr else unit, white - black, black)


def _linear(images: Any, factor: Array, offset: Array) -> tf.Tensor:
    """Return images [N, H, W, C] times a factor [C], plus an offset [C]."""
    shape = images.shape
    if len(set(factor)) == len(set(offset)) == 1:
        # Most normalizations; for `zero_one` there is nothing to do.
        scaled = images if factor[0] == 1 else images * factor[0]
        return scaled if offset[0] == 0 else scaled + offset[0]
    # Along whole rows: to a last axis of 3, TensorFlow broadcasts at a fifth of the speed.
    rows = tf.reshape(images, [*shape[:2], shape[2] * shape[3]])
    return tf.reshape(rows * np.tile(factor, shape[2]) + np.tile(offset, shape[2]), shape)


def _levels(images: Any, config: TransformConfig) -> Levels:
    black, white = (tuple(float(level) for level in image) for image in images)
    return Levels(black, white, bgr=config.normalization == "imagenet_caffe")


def to_bytes(images: Array, levels: Levels | None) -> Array:
    """Turn normalised images float32 [N, H, W, C] into uint8 [N, H, W, 3].

    Args:
        images: As Transform makes them.
        levels: Their levels; without them each image is shown from its least value to its largest.
    """
    if levels is not None:
        unit = np.asarray(levels.to_unit(images))
    else:
        low = images.min(axis=(1, 2, 3), keepdims=True)
        high = images.max(axis=(1, 2, 3), keepdims=True)
        unit = (images - low) / np.maximum(high - low, 1e-6)
    pixels = np.round(np.clip(unit, 0.0, 1.0) * 255).astype(np.uint8)
    return np.broadcast_to(pixels, (*pixels.shape[:3], 3))


def known_levels(config: TransformConfig) -> Levels | None:
    """Return the levels of a configuration; None for `standardize`, which needs the data."""
    if config.normalization == "standardize":
        return None
    pixels = tf.constant([[0.0] * config.channels, [255.0] * config.channels])
    return _levels(normalize(pixels[:, tf.newaxis, tf.newaxis], config)[:, 0, 0].numpy(), config)


def measured_levels(tft_output: tft.TFTransformOutput, config: TransformConfig) -> Levels:
    """Return the levels by sending a black and a white image through the Transform graph."""
    encoded = [tf.io.encode_png(tf.fill([2, 2, config.channels], tf.constant(v, tf.uint8))) for v in (0, 255)]
    inputs = {features.ENCODED: tf.stack(encoded)[:, tf.newaxis]}
    images = tft_output.transform_features_layer()(inputs)[IMAGE]
    # The middle: `resize: pad` puts black around.
    return _levels(images[:, config.height_px // 2, config.width_px // 2].numpy(), config)
