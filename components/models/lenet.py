"""LeNet-5 with today's parts: ReLU for tanh, max pooling for trainable subsampling.

Source: LeCun et al., Gradient-based learning applied to document recognition, 1998.
"""

from __future__ import annotations

import keras

from components.config import ModelConfig
from components.errors import MiranteError
from components.models import BACKBONE, HEAD

SMALLEST_PX = 16


def build(
    config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int
) -> tuple[keras.Model, keras.Model]:
    """Backbone `[N, H, W, C]` to `[N, D]`, head `[N, D]` to logits; about 0.1 M parameters at 28 px."""
    if min(input_shape[:2]) < SMALLEST_PX:
        raise MiranteError(
            f"model.name: lenet needs images of at least {SMALLEST_PX} px, got {input_shape[0]} x "
            f"{input_shape[1]}: raise transform.height_px and transform.width_px"
        )
    layers = keras.layers
    backbone = keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(16, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
        ],
        name=BACKBONE,
    )
    head = keras.Sequential(
        [
            keras.Input(backbone.output_shape[1:]),
            layers.Dense(120, activation="relu"),
            layers.Dropout(config.dropout),
            layers.Dense(84, activation="relu"),
            layers.Dense(num_classes, name="logits"),
        ],
        name=HEAD,
    )
    return backbone, head
