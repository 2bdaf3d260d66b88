"""TFT's preprocessing function: pixels, and what the task wants along with them."""

from collections.abc import Mapping
from typing import Any, Protocol

import tensorflow as tf

from components.base.task import part
from components.transform.config import TransformConfig
from components.transform.pixels import IMAGE, decode, normalize, resize
from schemas import features


class TaskTransform(Protocol):
    """The module `transform` of a task's room, which Transform asks."""

    def make_outputs(
        self, inputs: Mapping[str, Any], config: TransformConfig, max_boxes: int | None
    ) -> dict[str, tf.Tensor]:
        """Return what goes along with the pixels: tensors [N, ...] by name.

        Args:
            inputs: The record's features, [N, 1] or sparse.
            config: The recipe's part `transform`.
            max_boxes: The number of boxes that each image is brought to; None where a task has none.
        """
        ...


@tf.autograph.experimental.do_not_convert
def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Turn records into pixels and what the task wants with them: TFT's preprocessing function.

    Args:
        inputs: The record's features: `image/encoded` string [N, 1], and what the task reads of them.
        custom_config: `transform`, the recipe's part as a dict; `task`, the recipe's; `max_boxes`, the number
            of boxes that each image is brought to, where the task has boxes.

    Returns:
        `image` float32 [N, height_px, width_px, channels], and what the task's module `transform` gives.
    """
    config = TransformConfig.model_validate(custom_config["transform"])
    pixels = tf.map_fn(
        lambda encoded: resize(decode(encoded, config.channels), config),
        tf.reshape(inputs[features.ENCODED], (-1,)),
        fn_output_signature=tf.TensorSpec((config.height_px, config.width_px, config.channels), tf.float32),
    )
    asked: TaskTransform = part(custom_config["task"], "transform")
    return {
        IMAGE: normalize(pixels, config),
        **asked.make_outputs(inputs, config, custom_config.get("max_boxes")),
    }
