"""MobileNetV2 of any width, from `keras.applications`.

Source: Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks, 2018.
"""

import keras

from components.models import linear_head
from components.models.config import ModelConfig
from components.models.pretrained import pooled_backbone
from components.models.weights_file import alpha_of, check_weights


def build(
    config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int
) -> tuple[keras.Model, keras.Model]:
    """Build backbone `[N, H, W, 3]` in [-1, 1] to `[N, 1280]` (less below alpha 1), and head to logits."""
    alpha = width_of(config)
    backbone = pooled_backbone(keras.applications.MobileNetV2, config, input_shape, alpha=alpha)
    return backbone, linear_head(backbone.output_shape[-1], num_classes, config.dropout)


def width_of(config: ModelConfig) -> float:
    """Return `model.alpha`; when unset, the weights file's, or 1.0 without a file.

    Raises:
        UsageError: The file is not one of MobileNetV2's.
    """
    if config.alpha is not None:
        return config.alpha
    check_weights(config)
    return alpha_of(config.weights) if config.weights not in (None, "imagenet") else 1.0
