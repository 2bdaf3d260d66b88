"""What goes along with a detector's pixels: boxes and their labels, equally many for each image.

Where images are padded (`resize: pad`), boxes become shares of what an image is padded to, and `frame` says
where in it the image is: the way back.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from components.tasks.detection.geometry import from_window
from components.transform.config import TransformConfig
from components.transform.pixels import find_frames
from schemas import features

BOXES = "boxes"
LABELS = "labels"
FRAME = "frame"


def make_outputs(
    inputs: Mapping[str, Any], config: TransformConfig, max_boxes: int | None
) -> dict[str, tf.Tensor]:
    """Return what `boxes_and_labels` gives and, where images are padded, `frame` float32 [N, 4].

    Args:
        inputs: `image/encoded` string [N, 1]; sparse, of any length, `image/object/bbox/...` float32,
            `image/object/class/label` and `image/object/difficult` int64.
        config: The recipe's part `transform`.
        max_boxes: The number of boxes that each image is brought to: those beyond are left out, empty ones
            are added.
    """
    if config.resize != "pad":
        return boxes_and_labels(inputs, max_boxes or 0)
    encoded = tf.reshape(inputs[features.ENCODED], (-1,))
    frame = find_frames(encoded, (config.height_px, config.width_px))
    return {FRAME: frame, **boxes_and_labels(inputs, max_boxes or 0, frame)}


def boxes_and_labels(
    inputs: Mapping[str, tf.SparseTensor], max_boxes: int, frame: tf.Tensor | None = None
) -> dict[str, tf.Tensor]:
    """Return the part of `outputs` that does not look at images.

    Args:
        inputs: Those of `outputs`; the features of boxes are enough.
        max_boxes: The number of boxes that each image is brought to.
        frame: Where each image is in what it was padded to, float32 [N, 4].

    Returns:
        `boxes` float32 [N, max_boxes, 4], and `labels` int64 [N, max_boxes]: below 0 for difficult objects,
        0 where there is no box.
    """
    boxes = tf.stack([_padded(inputs[side], max_boxes) for side in features.BOX_SIDES], axis=-1)
    labels = _padded(inputs[features.BOX_LABEL], max_boxes)
    if frame is not None:
        boxes = tf.where(labels[..., tf.newaxis] > 0, from_window(boxes, frame[:, tf.newaxis]), boxes)
    # Old records may not say which objects are difficult; then none is.
    is_difficult = _padded(inputs[features.BOX_DIFFICULT], max_boxes) > 0
    return {BOXES: boxes, LABELS: tf.where(is_difficult, -labels, labels)}


def _padded(values: tf.SparseTensor, size: int) -> tf.Tensor:
    """Turn sparse [N, any] into dense [N, size], with zeros at the end."""
    dense = tf.sparse.to_dense(values)[:, :size]
    dense = tf.pad(dense, [[0, 0], [0, size - tf.shape(dense)[1]]])
    return tf.ensure_shape(dense, [None, size])
