"""The networks a recipe can name: those of this package, and any custom function.

A network takes `[N, height_px, width_px, channels]` float32 pixels as Transform makes them and gives
`[N, classes]` float32 logits. It has two parts, layers named `backbone` (pixels to `[N, D]` features) and
`head` (features to logits), so that the head can be trained alone on a pretrained backbone. A custom
network may have one part, `network`. Logits are float32 under every dtype policy: softmax needs the digits.

docs/models.md lists them, and says how to name your own.
"""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING

from components.base.errors import UsageError
from components.models.config import ModelConfig, check_input

if TYPE_CHECKING:
    import keras

BACKBONE = "backbone"
HEAD = "head"
# The layers of a detector's head that give the classes' logits are called so, and numbered.
CLASS_PREDICTOR = "class_predictor"


def build_model(config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Build the network that `config` names, under the dtype policy that is set.

    Args:
        config: The recipe's `model` part.
        input_shape: Height and width in pixels, and channels.
        num_classes: Length of the logits.

    Raises:
        UsageError: The images are too small for the network, or have other channels than its weights.
        MiranteError: The weights are not available or do not fit, or a custom function is not available or
            does not return a network.
    """
    import keras

    try:
        check_input(config, *input_shape)
    except ValueError as e:
        raise UsageError(str(e)) from e
    name = config.network.module if config.network else "custom"
    module = importlib.import_module(f"components.models.{name}")
    inputs = keras.Input(input_shape, name="image")
    outputs = inputs
    for part in module.build(config, input_shape, num_classes):
        outputs = part(outputs)
    # A name of Keras' may hold neither dots nor colons everywhere.
    return keras.Model(inputs, outputs, name=re.sub(r"\W", "_", config.name))


def has_shared_head(model: keras.Model) -> bool:
    """Return whether a part of the head serves networks for other classes too, as a detector's does."""
    heads = [layer for layer in model.layers if layer.name == HEAD]
    return any(layer.name.startswith(CLASS_PREDICTOR) for head in heads for layer in head._flatten_layers())


def is_of_classes(path: str) -> bool:
    """Return whether a variable of a shared head, given by its path, belongs to certain classes."""
    return re.fullmatch(rf"{CLASS_PREDICTOR}_\d+/(kernel|bias)", path) is not None


def refresh_constants(model: keras.Model) -> None:
    """Update constants that follow weights: call it after loading weights rather than training them.

    Keras' Normalization, which EfficientNets contain, computes with constants that follow its weights only
    on request.
    """
    import keras

    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def linear_head(num_features: int, num_classes: int, dropout: float) -> keras.Model:
    """Build dropout and one dense layer: `[N, num_features]` to `[N, num_classes]` logits, float32."""
    import keras

    layers = [keras.layers.Dropout(dropout)] if dropout else []
    return keras.Sequential(
        [
            keras.Input((num_features,)),
            *layers,
            keras.layers.Dense(num_classes, dtype="float32", name="logits"),
        ],
        name=HEAD,
    )
