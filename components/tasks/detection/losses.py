"""Losses of a detector, each summed over an image's anchors: float32 [N].

Sources: Lin et al., Focal loss for dense object detection, 2017 (https://arxiv.org/abs/1708.02002); Liu et
al., SSD, 2016 (hard-negative mining, smooth L1); Rezatofighi et al., Generalized intersection over union,
2019.
"""

import tensorflow as tf

from components.models.config import DetectionConfig
from components.tasks.detection.geometry import decode, encode, giou
from components.tasks.detection.matching import Matches

# Where smooth L1 goes from a parabola to a line, in units of codes.
_BETA = 1.0


def compute_scores(logits: tf.Tensor, config: DetectionConfig) -> tf.Tensor:
    """Return the scores [N, A, classes] of logits [N, A, num_logits], 0..1, without background."""
    if config.classification_loss == "focal":
        return tf.sigmoid(logits)
    return tf.nn.softmax(logits)[..., 1:]


def classification_loss(logits: tf.Tensor, matches: Matches, config: DetectionConfig) -> tf.Tensor:
    """Return the loss of classes that `config.classification_loss` names.

    Args:
        logits: float32 [N, A, num_logits].
        matches: What the anchors are to say.
        config: The recipe's `model.detection`.
    """
    if config.classification_loss == "focal":
        return _focal(logits, matches, config)
    return _hard_negative(logits, matches, config)


def _focal(logits: tf.Tensor, matches: Matches, config: DetectionConfig) -> tf.Tensor:
    """Return -alpha (1 - p)^gamma log p for classes that are there, and with 1 - alpha for others."""
    # A row of 0 for background: label 1 is the first logit.
    targets = tf.one_hot(matches.labels - 1, logits.shape[-1])
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
    probability = tf.sigmoid(logits)
    wrong = targets * (1.0 - probability) + (1.0 - targets) * probability
    weight = targets * config.focal_alpha + (1.0 - targets) * (1.0 - config.focal_alpha)
    by_anchor = tf.reduce_sum(weight * wrong**config.focal_gamma * cross_entropy, axis=-1)
    return tf.reduce_sum(by_anchor * matches.counted, axis=-1)


def _hard_negative(logits: tf.Tensor, matches: Matches, config: DetectionConfig) -> tf.Tensor:
    """Return softmax over the positive anchors and the worst others, a fixed number per positive."""
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(matches.labels, logits)
    positive = matches.positive
    negative = (1.0 - positive) * matches.counted
    # An image without boxes has something to teach too.
    wanted = config.negatives_per_positive * tf.maximum(tf.reduce_sum(positive, axis=-1), 1.0)
    # What is mined is no part of the gradient.
    hardness = tf.stop_gradient(tf.where(negative > 0.0, cross_entropy, -1.0))
    order = tf.argsort(hardness, axis=-1, direction="DESCENDING", stable=True)
    rank = tf.cast(tf.argsort(order, axis=-1, stable=True), tf.float32)
    mined = negative * tf.cast(rank < wanted[:, tf.newaxis], tf.float32)
    return tf.reduce_sum(cross_entropy * (positive + mined), axis=-1)


def box_loss(codes: tf.Tensor, matches: Matches, anchors: tf.Tensor, config: DetectionConfig) -> tf.Tensor:
    """Return the loss of positive anchors' boxes that `config.box_loss` names.

    Args:
        codes: float32 [N, A, 4]; see components/tasks/detection/geometry.py.
        matches: Which boxes they are to give.
        anchors: float32 [A, 4].
        config: The recipe's `model.detection`.
    """
    if config.box_loss == "giou":
        by_anchor = 1.0 - giou(decode(codes, anchors), matches.boxes)
    else:
        # Codes of no box would be large, and 0 times the infinite is no number.
        filled = tf.where(matches.positive[..., tf.newaxis] > 0.0, matches.boxes, anchors)
        error = tf.abs(codes - encode(filled, anchors))
        smooth = tf.where(error < _BETA, 0.5 * error**2 / _BETA, error - 0.5 * _BETA)
        by_anchor = tf.reduce_sum(smooth, axis=-1)
    return tf.reduce_sum(by_anchor * matches.positive, axis=-1)


def divide_by_positives(loss: tf.Tensor, matches: Matches) -> tf.Tensor:
    """Divide an image's loss by its positive anchors, as in the paper on focal loss."""
    return loss / tf.maximum(tf.reduce_sum(matches.positive, axis=-1), 1.0)
