"""Boxes: overlaps, clipping, and what the network says of them.

Boxes are float32 [..., 4], (xmin, ymin, xmax, ymax) as shares of the image; an empty one (all 0) overlaps
nothing. Codes are float32 [..., 4]: how far a box is from its anchor, as in Liu et al., SSD: Single shot
multibox detector, 2016 (https://arxiv.org/abs/1512.02325), after Girshick's R-CNN:

    (x - xa) / wa / 0.1,  (y - ya) / ha / 0.1,  log(w / wa) / 0.2,  log(h / ha) / 0.2

with x, y the centre, w, h width and height, and a of the anchor. The divisors bring all four to a deviation
of about 1.
"""

import tensorflow as tf

VARIANCES = (0.1, 0.1, 0.2, 0.2)
# A side of e^4 anchors is far out of the image; more would overflow before anything is learned.
_MAX_LOG_SIDE = 4.0
_TINY = 1e-9


def area(boxes: tf.Tensor) -> tf.Tensor:
    """Return the area float32 [...]; 0 for a box whose end comes before its beginning."""
    sides = tf.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    return sides[..., 0] * sides[..., 1]


def intersection(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return the area that two boxes share; shapes are broadcast: [..., 4] and [..., 4] to [...]."""
    low = tf.maximum(boxes[..., :2], others[..., :2])
    high = tf.minimum(boxes[..., 2:], others[..., 2:])
    return area(tf.concat([low, high], axis=-1))


def iou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return intersection over union, 0..1; shapes are broadcast: [..., 4] and [..., 4] to [...]."""
    shared = intersection(boxes, others)
    return shared / tf.maximum(area(boxes) + area(others) - shared, _TINY)


def pairwise_iou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return the IoU of each box with each other one: [..., N, 4] and [..., M, 4] to [..., N, M]."""
    # Side by side rather than by `iou`: to a last axis of 4, TensorFlow broadcasts at a fifth of the speed.
    x0, y0, x1, y1 = (boxes[..., :, i, tf.newaxis] for i in range(4))
    u0, v0, u1, v1 = (others[..., tf.newaxis, :, i] for i in range(4))
    width = tf.maximum(tf.minimum(x1, u1) - tf.maximum(x0, u0), 0.0)
    shared = width * tf.maximum(tf.minimum(y1, v1) - tf.maximum(y0, v0), 0.0)
    union = area(boxes)[..., :, tf.newaxis] + area(others)[..., tf.newaxis, :] - shared
    return shared / tf.maximum(union, _TINY)


def giou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return generalized IoU, -1..1: IoU less the share of the common hull that neither covers; [...].

    Source: Rezatofighi et al., Generalized intersection over union, 2019 (https://arxiv.org/abs/1902.09630).
    """
    shared = intersection(boxes, others)
    union = area(boxes) + area(others) - shared
    hull = area(
        tf.concat(
            [tf.minimum(boxes[..., :2], others[..., :2]), tf.maximum(boxes[..., 2:], others[..., 2:])],
            axis=-1,
        )
    )
    return shared / tf.maximum(union, _TINY) - (hull - union) / tf.maximum(hull, _TINY)


def clip(boxes: tf.Tensor) -> tf.Tensor:
    """Cut off what is outside of the image."""
    return tf.clip_by_value(boxes, 0.0, 1.0)


def to_window(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Express boxes [..., 4] as shares of a window [..., 4] of the same image, without cutting them off."""
    corner = tf.concat([window[..., :2], window[..., :2]], axis=-1)
    size = tf.concat([window[..., 2:] - window[..., :2]] * 2, axis=-1)
    return (boxes - corner) / size


def from_window(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Express boxes that are shares of a window [..., 4] as shares of its image; inverts `to_window`."""
    corner = tf.concat([window[..., :2], window[..., :2]], axis=-1)
    size = tf.concat([window[..., 2:] - window[..., :2]] * 2, axis=-1)
    return boxes * size + corner


def _centres(boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return (boxes[..., :2] + boxes[..., 2:]) / 2.0, boxes[..., 2:] - boxes[..., :2]


def encode(boxes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
    """Encode boxes [..., 4] as offsets from anchors [..., 4]; those of empty boxes are finite."""
    centre, sides = _centres(boxes)
    anchor_centre, anchor_sides = _centres(anchors)
    moved = (centre - anchor_centre) / anchor_sides
    grown = tf.math.log(tf.maximum(sides, _TINY) / anchor_sides)
    return tf.concat([moved, grown], axis=-1) / VARIANCES


def decode(codes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
    """Decode codes [..., 4] to boxes [..., 4], which may reach out of the image."""
    anchor_centre, anchor_sides = _centres(anchors)
    codes = codes * tf.constant(VARIANCES)
    centre = codes[..., :2] * anchor_sides + anchor_centre
    half = tf.exp(tf.clip_by_value(codes[..., 2:], -_MAX_LOG_SIDE, _MAX_LOG_SIDE)) * anchor_sides / 2.0
    return tf.concat([centre - half, centre + half], axis=-1)
