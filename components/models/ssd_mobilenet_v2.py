"""SSD on MobileNetV2: pixels to codes and logits of anchors.

The backbone gives two feature maps, the expansion of block 13 (stride 16) and the last convolution (stride
32); with a feature pyramid, the expansion of block 6 (stride 8) too.

Source: Sandler et al., MobileNetV2 (SSDLite, section 6.2), 2018 (https://arxiv.org/abs/1801.04381).
"""

import math

import keras

from components.models import BACKBONE
from components.models.anchors import PYRAMID_STRIDE
from components.models.config import DetectionConfig, ModelConfig
from components.models.mobilenet_v2 import width_of
from components.models.pretrained import application
from components.models.ssd import build_head, quicken_batch_norms

# The layers of keras.applications' MobileNetV2 whose outputs are the feature maps.
MAPS = ("block_13_expand_relu", "out_relu")
# The one before them, for a feature pyramid.
_FINEST = "block_6_expand_relu"


def build(
    config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int
) -> tuple[keras.Model, keras.Model]:
    """Build backbone `[N, H, W, 3]` in [-1, 1] to feature maps, head from these to `[N, A, 4 + logits]`.

    Raises:
        UsageError: See `components.models.pretrained.application`.
    """
    alpha = width_of(config)
    whole = application(keras.applications.MobileNetV2, config, input_shape, alpha=alpha)
    if config.weights is None:
        quicken_batch_norms(whole)
    names = _list_maps(config.detection)
    backbone = keras.Model(whole.inputs, [whole.get_layer(name).output for name in names], name=BACKBONE)
    maps = {name: output.shape[1:] for name, output in zip(names, backbone.outputs, strict=True)}
    return backbone, build_head(config, maps, num_classes, alpha)


def backbone_shapes(config: ModelConfig, input_shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Return rows and columns of each feature map of the backbone, the finest first."""
    of_backbone = len(_list_maps(config.detection))
    stride = PYRAMID_STRIDE if of_backbone > len(MAPS) else 16
    found = [tuple(math.ceil(size / stride) for size in input_shape[:2])]
    for _ in range(of_backbone - 1):
        found.append((math.ceil(found[-1][0] / 2), math.ceil(found[-1][1] / 2)))
    return [(rows, columns) for rows, columns in found]


def _list_maps(config: DetectionConfig) -> tuple[str, ...]:
    """Return the backbone's layers whose outputs are feature maps, the finest first."""
    return (_FINEST, *MAPS) if config.neck == "fpn" else MAPS
