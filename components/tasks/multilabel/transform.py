"""What goes along with the pixels of an image with several classes: its labels."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from components.transform.config import TransformConfig
from schemas import features

LABELS = "labels"


def make_outputs(
    inputs: Mapping[str, Any], config: TransformConfig, max_boxes: int | None
) -> dict[str, tf.SparseTensor]:
    """Return `labels`, sparse int64 [N, any], of `image/class/label`, likewise."""
    given = inputs[features.LABEL]
    return {LABELS: tf.SparseTensor(given.indices, given.values, given.dense_shape)}


def make_multi_hot(labels: tf.SparseTensor, num_classes: int) -> tf.Tensor:
    """Return float32 [N, classes], 1 where an image has a class, of sparse labels int64 [N, any]."""
    places = tf.stack([labels.indices[:, 0], labels.values], axis=1)
    shape = tf.stack([labels.dense_shape[0], tf.constant(num_classes, tf.int64)])
    counted = tf.scatter_nd(places, tf.ones_like(labels.values, tf.float32), shape)
    # A label that is there twice counts once.
    return tf.ensure_shape(tf.minimum(counted, 1.0), [None, num_classes])
