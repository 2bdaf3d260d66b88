"""Boxes and labels of an image as one tensor, so that they go through the Trainer as any label does.

Targets are float32 [..., max_boxes, 5]: a box, then its label as a number, below 0 where the object is
difficult; all 0 where there is none.
"""

from __future__ import annotations

import tensorflow as tf


def pack(boxes: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Boxes float32 [..., B, 4] and labels int [..., B] to targets float32 [..., B, 5]."""
    return tf.concat([boxes, tf.cast(labels, tf.float32)[..., tf.newaxis]], axis=-1)


def unpack(targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The way back; labels int32."""
    return targets[..., :4], tf.cast(tf.round(targets[..., 4]), tf.int32)
