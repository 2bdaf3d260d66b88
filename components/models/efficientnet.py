"""EfficientNet B0 to B7, from `keras.applications`: one network, ever wider and deeper.

Its first layers divide the pixels by 255 and, with the published weights, take ImageNet's mean and deviation
off, so it takes pixels of 0 to 255 (`transform.normalization: none`), with random weights too.

Source: Tan and Le, EfficientNet: rethinking model scaling for convolutional neural networks, 2019.
"""

import keras

from components.models import linear_head
from components.models.config import ModelConfig
from components.models.pretrained import keep_scaling_in_float32, pooled_backbone


def build(
    config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int
) -> tuple[keras.Model, keras.Model]:
    """Build backbone `[N, H, W, 3]` in [0, 255] to `[N, D]`, D from 1280 (B0) to 2560 (B7), and head."""
    application = getattr(keras.applications, f"EfficientNet{config.name[-2:].upper()}")
    backbone = pooled_backbone(application, config, input_shape)
    keep_scaling_in_float32(backbone, is_from_file=config.weights not in (None, "imagenet"))
    return backbone, linear_head(backbone.output_shape[-1], num_classes, config.dropout)
