"""LeNet-5 with today's parts: ReLU for tanh, max pooling for trainable subsampling.

`batch_norm` puts a batch norm between each convolution of the backbone and its ReLU. `residual` puts a block
of two 3 x 3 convolutions after each pooling, whose result is added to what goes into it.

Sources: LeCun et al., Gradient-based learning applied to document recognition, 1998; Ioffe and Szegedy, Batch
normalization, 2015; He et al., Deep residual learning, 2015.
"""

import keras

from components.models import BACKBONE, HEAD
from components.models.batch_norm import BatchNormalization
from components.models.config import ModelConfig


def _convolution(
    x: keras.KerasTensor,
    filters: int,
    size: int,
    padding: str,
    batch_norm: bool,
    activation: str | None = "relu",
) -> keras.KerasTensor:
    """Apply a convolution, batch norm if asked for, and the activation."""
    layers = keras.layers
    if not batch_norm:
        return layers.Conv2D(filters, size, padding=padding, activation=activation)(x)
    x = layers.Conv2D(filters, size, padding=padding, use_bias=False)(x)
    # Keras' own momentum, 0.99, takes some five hundred steps to follow the weights.
    x = BatchNormalization(momentum=0.9)(x)
    return layers.Activation(activation)(x) if activation else x


def _residual_block(x: keras.KerasTensor, batch_norm: bool) -> keras.KerasTensor:
    """Return the ReLU of x + F(x), F two 3 x 3 convolutions with as many filters as x has."""
    y = _convolution(x, x.shape[-1], 3, "same", batch_norm)
    y = _convolution(y, x.shape[-1], 3, "same", batch_norm, activation=None)
    return keras.layers.ReLU()(keras.layers.Add()([x, y]))


def build(
    config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int
) -> tuple[keras.Model, keras.Model]:
    """Build backbone `[N, H, W, C]` to `[N, D]` and head to logits; about 0.1 M parameters at 28 px."""
    layers = keras.layers
    inputs = keras.Input(input_shape)
    x = inputs
    for filters, padding in ((16, "same"), (32, "valid")):
        x = _convolution(x, filters, 5, padding, config.batch_norm)
        x = layers.MaxPooling2D()(x)
        if config.residual:
            x = _residual_block(x, config.batch_norm)
    backbone = keras.Model(inputs, layers.Flatten()(x), name=BACKBONE)
    head = keras.Sequential(
        [
            keras.Input(backbone.output_shape[1:]),
            layers.Dense(120, activation="relu"),
            layers.Dropout(config.dropout),
            layers.Dense(84, activation="relu"),
            layers.Dense(num_classes, dtype="float32", name="logits"),
        ],
        name=HEAD,
    )
    return backbone, head
