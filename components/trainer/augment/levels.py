"""What Transform makes of black and white, by which pixels are brought back to 0..1.

Every normalization is linear in a pixel, channel by channel, so these two levels say all of it; also of
`standardize`, whose mean and deviation stand in the Transform graph alone.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.transform.config import TransformConfig
from components.transform.pixels import IMAGE, normalize
from schemas import features


@dataclasses.dataclass(frozen=True)
class Levels:
    """The levels of images float32 [N, H, W, C].

    Attributes:
        black: Of each channel, in the order in which they stand.
        white: Likewise.
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
        """Normalised to black 0 and white 1; RGB."""
        black, white = (np.array(level, np.float32) for level in (self.black, self.white))
        unit = _linear(images, 1 / (white - black), -black / (white - black))
        return unit[..., ::-1] if self.bgr else unit

    def from_unit(self, unit: Any) -> Any:
        """The way back."""
        black, white = (np.array(level, np.float32) for level in (self.black, self.white))
        return _linear(unit[..., ::-1] if self.bgr else unit, white - black, black)


def _linear(images: Any, factor: np.ndarray[Any, Any], offset: np.ndarray[Any, Any]) -> tf.Tensor:
    """Of images [N, H, W, C]: times a factor [C], plus an offset [C]."""
    shape = images.shape
    if len(set(factor)) == len(set(offset)) == 1:
        # Most of them; nothing at all for `zero_one`.
        scaled = images if factor[0] == 1 else images * factor[0]
        return scaled if offset[0] == 0 else scaled + offset[0]
    # Along whole rows: to a last axis of 3, TensorFlow broadcasts at a fifth of the speed.
    rows = tf.reshape(images, [*shape[:2], shape[2] * shape[3]])
    return tf.reshape(rows * np.tile(factor, shape[2]) + np.tile(offset, shape[2]), shape)


def _levels(images: Any, config: TransformConfig) -> Levels:
    black, white = (tuple(float(level) for level in image) for image in images)
    return Levels(black, white, bgr=config.normalization == "imagenet_caffe")


def known_levels(config: TransformConfig) -> Levels | None:
    """The levels, as far as the configuration tells them; None for `standardize`."""
    if config.normalization == "standardize":
        return None
    pixels = tf.constant([[0.0] * config.channels, [255.0] * config.channels])
    return _levels(normalize(pixels[:, tf.newaxis, tf.newaxis], config)[:, 0, 0].numpy(), config)


def measured_levels(tft_output: tft.TFTransformOutput, config: TransformConfig) -> Levels:
    """The levels, by sending a black and a white picture through the Transform graph."""
    encoded = [tf.io.encode_png(tf.fill([2, 2, config.channels], tf.constant(v, tf.uint8))) for v in (0, 255)]
    inputs = {features.ENCODED: tf.stack(encoded)[:, tf.newaxis]}
    images = tft_output.transform_features_layer()(inputs)[IMAGE]
    # The middle: `resize: pad` puts black around.
    return _levels(images[:, config.height_px // 2, config.width_px // 2].numpy(), config)
