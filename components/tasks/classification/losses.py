"""The loss of a classifier."""

from collections.abc import Callable

import tensorflow as tf

# (labels int [N] or float [N, classes], logits [N, classes]) -> loss float32 [N]
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def cross_entropy(smoothing: float) -> Loss:
    """Return the cross-entropy of logits against labels int [N], or float [N, classes] of mixed images.

    Args:
        smoothing: The recipe's `training.label_smoothing`.
    """

    def loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        logits = tf.cast(logits, tf.float32)
        if labels.shape.rank == 1 and not smoothing:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        if labels.shape.rank == 1:
            labels = tf.one_hot(labels, logits.shape[-1])
        labels = labels * (1.0 - smoothing) + smoothing / logits.shape[-1]
        return tf.nn.softmax_cross_entropy_with_logits(labels, logits)

    return loss


def class_of(labels: tf.Tensor) -> tf.Tensor:
    """Return int64 [N]: the label, or the larger part of a mixed one."""
    return tf.cast(labels, tf.int64) if labels.shape.rank == 1 else tf.argmax(labels, axis=-1)
