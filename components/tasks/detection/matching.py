"""Matching: which anchor answers for which box in training.

Source: Liu et al., SSD, 2016, section 2.2: an anchor is positive with every box that it overlaps enough; and
each box has at least one, the anchor that it overlaps most, however little that is.
"""

import dataclasses

import tensorflow as tf

from components.models.config import DetectionConfig
from components.tasks.detection.geometry import pairwise_iou


@dataclasses.dataclass(frozen=True)
class Matches:
    """The boxes that anchors answer for.

    Attributes:
        boxes: Those that they are to give, float32 [N, A, 4]; all 0 without one.
        labels: The boxes' labels, int32 [N, A]; 0 is background.
        counted: 0 for anchors that overlap a box too much for background and too little for the box, and
            for those that are on difficult objects; float32 [N, A].
    """

    boxes: tf.Tensor
    labels: tf.Tensor
    counted: tf.Tensor

    @property
    def positive(self) -> tf.Tensor:
        """1 where there is a box, float32 [N, A]."""
        return tf.cast(self.labels > 0, tf.float32)


def match(boxes: tf.Tensor, labels: tf.Tensor, anchors: tf.Tensor, config: DetectionConfig) -> Matches:
    """Give each anchor the box that it overlaps most, if it does so by at least `matched_iou`.

    Each box gets the anchor that it overlaps most in any case. Of several boxes that want the same one, it is
    that with the larger overlap; of equal ones, the first.

    Boxes of difficult objects take no anchor from others, unless `config.train_on_difficult`: those that are
    left of the anchors that they would have had do not count.

    Args:
        boxes: float32 [N, B, 4], padded with empty ones.
        labels: int [N, B], 0 for these, below 0 for difficult objects.
        anchors: float32 [A, 4].
        config: The recipe's `model.detection`.
    """
    if config.train_on_difficult:
        labels = tf.abs(labels)
    all_overlaps = pairwise_iou(boxes, anchors)  # [N, B, A]
    is_box, is_spared = labels > 0, labels < 0
    overlaps = tf.where(is_box[..., tf.newaxis], all_overlaps, -1.0)
    best_box = tf.argmax(overlaps, axis=1, output_type=tf.int32)  # [N, A]
    best_overlap = tf.reduce_max(overlaps, axis=1)

    # 2 and more: above all overlaps, so that a box keeps its best anchor against any other.
    best_anchor = tf.one_hot(tf.argmax(overlaps, axis=2), anchors.shape[0], dtype=tf.float32)
    wanted = best_anchor * tf.where(is_box, 2.0, 0.0)[..., tf.newaxis] * (1.0 + tf.maximum(overlaps, 0.0))
    is_forced = tf.reduce_max(wanted, axis=1) > 0.0
    chosen = tf.where(is_forced, tf.argmax(wanted, axis=1, output_type=tf.int32), best_box)
    is_positive = is_forced | (best_overlap >= config.matched_iou)

    # By products of matrices: gathering along a batch is slow on TPUs, and not exact for XLA on CPUs.
    taken = tf.one_hot(chosen, boxes.shape[1], dtype=tf.float32)
    taken *= tf.cast(is_positive, tf.float32)[..., tf.newaxis]
    of_anchors = tf.matmul(taken, tf.concat([boxes, tf.cast(labels, tf.float32)[..., tf.newaxis]], axis=-1))
    near = best_overlap >= config.unmatched_iou
    nearest = tf.one_hot(tf.argmax(all_overlaps, axis=2), anchors.shape[0]) > 0.0
    on_spared = (all_overlaps >= config.unmatched_iou) | nearest
    near |= tf.reduce_any(is_spared[..., tf.newaxis] & on_spared, axis=1)
    near &= ~is_positive
    return Matches(
        of_anchors[..., :4], tf.cast(tf.round(of_anchors[..., 4]), tf.int32), 1.0 - tf.cast(near, tf.float32)
    )
