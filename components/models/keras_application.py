"""Any classifier of `keras.applications`, averaged over the image (components/models/applications.py).

Networks that scale pixels themselves do so in 32 bits under every dtype policy.

Sources: those in the table of docs/models.md.
"""

import keras

from components.models import linear_head
from components.models.applications import keras_name
from components.models.config import ModelConfig
from components.models.pretrained import keep_scaling_in_float32, pooled_backbone


def build(
    config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int
) -> tuple[keras.Model, keras.Model]:
    """Build backbone `[N, H, W, 3]` to `[N, D]` and head `[N, D]` to logits."""
    application = getattr(keras.applications, keras_name(config.name))
    backbone = pooled_backbone(application, config, input_shape)
    keep_scaling_in_float32(backbone, is_from_file=config.weights not in (None, "imagenet"))
    return backbone, linear_head(backbone.output_shape[-1], num_classes, config.dropout)
