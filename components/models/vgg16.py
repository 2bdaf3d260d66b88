"""VGG16, from `keras.applications`, averaged over the image instead of its 100 M dense parameters.

Source: Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition, 2014.
"""

import keras

from components.models import linear_head
from components.models.config import ModelConfig
from components.models.pretrained import pooled_backbone


def build(
    config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int
) -> tuple[keras.Model, keras.Model]:
    """Build backbone `[N, H, W, 3]` (BGR minus mean, see `imagenet_caffe`) to `[N, 512]`, and head."""
    backbone = pooled_backbone(keras.applications.VGG16, config, input_shape)
    return backbone, linear_head(backbone.output_shape[-1], num_classes, config.dropout)
