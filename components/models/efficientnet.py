"""EfficientNet B0 to B7, from `keras.applications`: one network, ever wider and deeper.

Its first layers divide the pixels by 255 and, with the published weights, take ImageNet's mean and deviation
off, so it takes pixels of 0 to 255 (`transform.normalization: none`), with random weights too.

Source: Tan and Le, EfficientNet: rethinking model scaling for convolutional neural networks, 2019.
"""

import keras
import numpy as np

from components.models import linear_head
from components.models.config import ModelConfig
from components.models.pretrained import pooled_backbone
from components.transform.pixels import IMAGENET_STD

# How near a file's variances must be to ImageNet's deviations to be taken for them.
_TOLERANCE = 1e-3


def build(
    config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int
) -> tuple[keras.Model, keras.Model]:
    """Build backbone `[N, H, W, 3]` in [0, 255] to `[N, D]`, D from 1280 (B0) to 2560 (B7), and head."""
    application = getattr(keras.applications, f"EfficientNet{config.name[-2:].upper()}")
    backbone = pooled_backbone(application, config, input_shape)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Rescaling):
            _in_float32(layer)
        if isinstance(layer, keras.layers.Normalization):
            _in_float32(layer)
            if config.weights not in (None, "imagenet"):
                _correct_variance(layer)
            layer.finalize_state()
    return backbone, linear_head(backbone.output_shape[-1], num_classes, config.dropout)


def _in_float32(layer: keras.layers.Layer) -> None:
    """Keep a layer that scales pixels in 32 bits: bfloat16 would round the mean that it subtracts."""
    layer.dtype_policy = keras.DTypePolicy("float32")


def _correct_variance(layer: keras.layers.Normalization) -> None:
    """Replace deviations, which the published file has by mistake, with variances.

    Keras corrects that with another layer, but only where it downloads the
    file itself; loaded by its path, the same file would see pixels half as large as it was trained on.
    """
    variance = layer.adapt_variance.numpy()
    if variance.shape == (3,) and np.allclose(variance, IMAGENET_STD, atol=_TOLERANCE):
        layer.adapt_variance.assign(np.square(IMAGENET_STD))
