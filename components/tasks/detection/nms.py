"""Non-maximum suppression in a graph of fixed shapes.

TensorFlow's own ops either are not known to XLA (`tf.image.combined_non_max_suppression`) or take one class
at a time. What is here is made of ops that XLA compiles for every device, and gives what
`combined_non_max_suppression` does (tests/tasks/test_detection_nms.py).

Greedily taking the best box and dropping what overlaps it is an order of steps as long as there are boxes.
The same is had by a rule that is applied until nothing changes: a box is kept if no better box that is kept
overlaps it. Each round settles at least one more link of every chain of overlapping boxes; there are few.
"""

import numpy as np
import tensorflow as tf

from components.models.config import DetectionConfig
from components.tasks.detection.geometry import pairwise_iou


def best_boxes(
    boxes: tf.Tensor, scores: tf.Tensor, config: DetectionConfig
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the best boxes of each image, per class without those that overlap a better one.

    Args:
        boxes: float32 [N, A, 4].
        scores: float32 [N, A, classes].
        config: The recipe's `model.detection`: `nms_iou`, `min_score`, `candidates`, `max_detections`.

    Returns:
        `boxes` float32 [N, max_detections, 4], `scores` float32 [N, max_detections], descending (equal ones
        in the order of the anchors), `labels` int64 [N, max_detections], 1-based. What is left over is filled
        with zeros.
    """
    count, anchors, classes = tf.shape(scores)[0], scores.shape[1], scores.shape[2]
    candidates = min(config.candidates, anchors * classes)
    by_anchor = tf.reshape(scores, [count, anchors * classes])
    top, place = tf.math.top_k(tf.where(by_anchor >= config.min_score, by_anchor, 0.0), candidates)
    chosen = tf.gather(boxes, place // classes, batch_dims=1)  # [N, K, 4]
    label = place % classes + 1

    same = label[:, :, tf.newaxis] == label[:, tf.newaxis, :]
    better = tf.constant(np.triu(np.ones((candidates, candidates), bool), 1))  # the row before the column
    overlaps = same & better & (pairwise_iou(chosen, chosen) > config.nms_iou)
    is_candidate = top > 0.0

    def settle(kept: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        suppressed = tf.reduce_any(overlaps & kept[:, :, tf.newaxis], axis=1)
        now = is_candidate & ~suppressed
        return now, tf.reduce_any(now != kept)

    kept, _ = tf.while_loop(
        lambda _, changed: changed,
        settle,
        (is_candidate, tf.constant(True)),
        maximum_iterations=candidates + 1,
    )
    return _first(chosen, tf.where(kept, top, 0.0), label, config.max_detections)


def _first(
    boxes: tf.Tensor, scores: tf.Tensor, labels: tf.Tensor, count: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the first `count` of each image, padded with zeros."""
    short = max(0, count - scores.shape[1])
    padded = tf.pad(scores, [[0, 0], [0, short]])
    best, place = tf.math.top_k(padded, count)
    is_box = best > 0.0
    boxes = tf.gather(tf.pad(boxes, [[0, 0], [0, short], [0, 0]]), place, batch_dims=1)
    labels = tf.gather(tf.pad(labels, [[0, 0], [0, short]]), place, batch_dims=1)
    return (
        tf.where(is_box[..., tf.newaxis], boxes, 0.0),
        best,
        tf.where(is_box, tf.cast(labels, tf.int64), 0),
    )
