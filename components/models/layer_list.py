"""A network as a list of layers: that of the recipe (`model.layers`), or that of the network's row.

Layers up to the first that makes features of a map are the backbone, the others the head. A last dense layer
gives the logits. Where a residual changes the shape of its input, a 1 x 1 convolution brings it to the new
one, as in He et al., Deep residual learning, 2015.
"""

from collections.abc import Sequence

import keras

from components.models import BACKBONE, HEAD
from components.models.batch_norm import BatchNormalization
from components.models.config import ModelConfig, layers_of
from components.models.layers.config import LayerConfig
from components.models.layers.shapes import find_cut, find_shortcut


def build(
    config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int
) -> tuple[keras.Model, keras.Model]:
    """Build backbone `[N, H, W, C]` to `[N, D]` and head `[N, D]` to logits."""
    layers = layers_of(config)
    cut = find_cut(layers)
    inputs = keras.Input(input_shape)
    backbone = keras.Model(inputs, _apply(layers[:cut], inputs), name=BACKBONE)
    features = keras.Input(backbone.output_shape[1:])
    x = _apply(layers[cut:], features)
    if config.dropout:
        x = keras.layers.Dropout(config.dropout)(x)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return backbone, keras.Model(features, logits, name=HEAD)


def _apply(layers: Sequence[LayerConfig], x: keras.KerasTensor) -> keras.KerasTensor:
    for layer in layers:
        x = _add_shortcut(layer, x) if layer.type == "residual" else _make(layer)(x)
    return x


def _add_shortcut(layer: LayerConfig, x: keras.KerasTensor) -> keras.KerasTensor:
    y = _apply(layer.layers or (), x)
    if x.shape != y.shape:
        strides = find_shortcut(x.shape[1:], y.shape[1:])
        x = keras.layers.Conv2D(y.shape[-1], 1, strides, padding="same", use_bias=False)(x)
    return keras.layers.Add()([x, y])


def _make(layer: LayerConfig) -> keras.layers.Layer:
    """Return Keras' layer for any kind but a residual."""
    layers, option = keras.layers, layer.option
    if layer.type == "conv":
        return layers.Conv2D(
            option("filters"),
            option("size"),
            option("stride"),
            padding=option("padding"),
            activation=option("activation"),
            use_bias=option("bias"),
        )
    if layer.type in ("max_pool", "average_pool"):
        kind = layers.MaxPooling2D if layer.type == "max_pool" else layers.AveragePooling2D
        return kind(option("size"), option("stride"))
    if layer.type == "dense":
        return layers.Dense(option("units"), option("activation"), use_bias=option("bias"))
    if layer.type == "batch_norm":
        return BatchNormalization(momentum=option("momentum"))
    if layer.type == "dropout":
        return layers.Dropout(option("rate"))
    if layer.type == "activation":
        return layers.Activation(option("activation"))
    return layers.Flatten() if layer.type == "flatten" else layers.GlobalAveragePooling2D()
