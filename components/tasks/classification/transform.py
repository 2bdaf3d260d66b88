"""What goes along with a classifier's pixels: the label."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from components.transform.config import TransformConfig
from schemas import features

LABEL = "label"


def make_outputs(
    inputs: Mapping[str, Any], config: TransformConfig, max_boxes: int | None
) -> dict[str, tf.Tensor]:
    """Return `label` int64 [N] of `image/class/label` int64 [N, 1]."""
    return {LABEL: tf.reshape(inputs[features.LABEL], (-1,))}
