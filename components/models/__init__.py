"""The networks a recipe can name.

A network takes `[N, height_px, width_px, channels]` float32 pixels as Transform makes them and gives
`[N, classes]` float32 logits. It has two parts, layers named `backbone` (pixels to `[N, D]` features) and
`head` (features to logits), so that the head can be trained alone on a pretrained backbone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from components.config import ModelConfig

if TYPE_CHECKING:
    import keras

BACKBONE = "backbone"
HEAD = "head"


def build_model(config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Builds the network that `config` names.

    Args:
        config: The recipe's `model` part; `components.models.<config.name>` builds backbone and head.
        input_shape: Height and width in pixels, and channels.
        num_classes: Length of the logits.

    Raises:
        MiranteError: The weights cannot be had or do not fit, or the input is too small for the network.
    """
    import keras

    module = importlib.import_module(f"components.models.{config.name}")
    backbone, head = module.build(config, input_shape, num_classes)
    inputs = keras.Input(input_shape, name="image")
    return keras.Model(inputs, head(backbone(inputs)), name=config.name)


def linear_head(num_features: int, num_classes: int, dropout: float) -> keras.Model:
    """Dropout and one dense layer: `[N, num_features]` to `[N, num_classes]` logits."""
    import keras

    layers = [keras.layers.Dropout(dropout)] if dropout else []
    return keras.Sequential(
        [keras.Input((num_features,)), *layers, keras.layers.Dense(num_classes, name="logits")], name=HEAD
    )
