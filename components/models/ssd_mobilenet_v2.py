"""SSD on MobileNetV2: pixels to codes and logits of anchors.

The backbone gives two feature maps, the expansion of block 13 (stride 16) and the last convolution (stride
32); extra layers halve the last one again and again. On each map, two SSDLite predictors (a depthwise
convolution, then a pointwise one) give for each anchor four codes of its box
(components/tasks/detection/geometry.py) and the logits of its classes.

Sources: Liu et al., SSD: Single shot multibox detector, 2016 (https://arxiv.org/abs/1512.02325); Sandler et
al., MobileNetV2 (SSDLite, section 6.2), 2018 (https://arxiv.org/abs/1801.04381); of the first logits' bias,
Lin et al., Focal loss for dense object detection, 2017, section 3.3.
"""

import math

import keras
import numpy as np

from components.base.arrays import Array
from components.models import BACKBONE, CLASS_PREDICTOR, HEAD
from components.models.anchors import make_anchors, shapes
from components.models.batch_norm import BatchNormalization
from components.models.config import DetectionConfig, ModelConfig
from components.models.mobilenet_v2 import width_of
from components.models.pretrained import application

# The layers of keras.applications' MobileNetV2 whose outputs are the feature maps.
MAPS = ("block_13_expand_relu", "out_relu")
# Filters of the extra layers, as in SSD; narrower networks have narrower ones.
_EXTRA_FILTERS = (512, 256, 256, 128)
# Probability of a box that each anchor gives at the beginning.
_PRIOR = 0.01
# Momentum of batch norms' statistics. Keras' own, 0.99 and in MobileNetV2 0.999, take hundreds and thousands
# of steps to follow the weights.
_MOMENTUM = 0.9


def build(
    config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int
) -> tuple[keras.Model, keras.Model]:
    """Build backbone `[N, H, W, 3]` in [-1, 1] to two feature maps, head to `[N, A, 4 + logits]` float32.

    `logits` is `num_classes` with focal loss and one more, for background, with hard-negative mining.

    Raises:
        UsageError: See `components.models.pretrained.application`.
    """
    alpha = width_of(config)
    whole = application(keras.applications.MobileNetV2, config, input_shape, alpha=alpha)
    if config.weights is None:
        for layer in whole.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = _MOMENTUM
    backbone = keras.Model(whole.inputs, [whole.get_layer(name).output for name in MAPS], name=BACKBONE)
    return backbone, _head(config, [output.shape[1:] for output in backbone.outputs], num_classes, alpha)


def map_shapes(config: DetectionConfig, input_shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Return rows and columns of each feature map, the finest first."""
    first = tuple(math.ceil(size / 16) for size in input_shape[:2])
    found = [first]
    for _ in range(1 + config.extra_layers):
        found.append((math.ceil(found[-1][0] / 2), math.ceil(found[-1][1] / 2)))
    return [(rows, columns) for rows, columns in found]


def anchors_of(config: ModelConfig, input_shape: tuple[int, int, int]) -> Array:
    """Return the anchors of the network's outputs, in their order: float32 [A, 4]."""
    return make_anchors(config.detection, map_shapes(config.detection, input_shape))


def _norm(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = BatchNormalization(momentum=_MOMENTUM, epsilon=1e-3, name=f"{name}_norm")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x)


def _extra(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Halve the map by a narrow pointwise convolution, a depthwise one and a pointwise one."""
    layers = keras.layers
    x = layers.Conv2D(filters // 2, 1, use_bias=False, name=f"{name}_reduce")(x)
    x = _norm(x, f"{name}_reduce")
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = _norm(x, f"{name}_depthwise")
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_expand")(x)
    return _norm(x, f"{name}_expand")


def _predictor(x: keras.KerasTensor, anchors: int, name: str, bias: list[float]) -> keras.KerasTensor:
    """Apply SSDLite: `[N, h, w, C]` to `[N, h w anchors, values]`, float32, one value per bias."""
    layers = keras.layers
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = _norm(x, f"{name}_depthwise")
    x = layers.Conv2D(
        anchors * len(bias),
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=_Repeated(bias, anchors),
        dtype="float32",
        name=name,
    )(x)
    return layers.Reshape((-1, len(bias)), dtype="float32", name=f"{name}_by_anchor")(x)


@keras.saving.register_keras_serializable("mirante")
class _Repeated(keras.initializers.Initializer):
    """Initializes biases with the values of an anchor, repeated for each anchor of a place."""

    def __init__(self, values: list[float], times: int):
        self.values, self.times = values, times

    def __call__(self, shape: tuple[int, ...], dtype: str | None = None) -> object:
        return keras.ops.convert_to_tensor(
            np.tile(self.values, self.times).reshape(shape), dtype or "float32"
        )

    def get_config(self) -> dict[str, object]:
        """Return the constructor's arguments."""
        return {"values": self.values, "times": self.times}


def first_logits(config: DetectionConfig, num_classes: int) -> list[float]:
    """Return the logits by which each anchor says at the beginning that there is nothing."""
    odds = math.log((1 - _PRIOR) / _PRIOR)
    if config.num_logits(num_classes) == num_classes:
        return [-odds] * num_classes
    return [odds + math.log(num_classes), *[0.0] * num_classes]


def _head(
    config: ModelConfig, maps: list[tuple[int, int, int]], num_classes: int, alpha: float
) -> keras.Model:
    detection = config.detection
    inputs = [keras.Input(shape, name=name) for shape, name in zip(maps, MAPS, strict=True)]
    features = list(inputs)
    for number, filters in enumerate(_EXTRA_FILTERS[: detection.extra_layers], start=1):
        narrow = max(32, int(filters * min(alpha, 1.0)) // 8 * 8)
        features.append(_extra(features[-1], narrow, f"extra_{number}"))
    nothing = first_logits(detection, num_classes)
    codes, classes = [], []
    of_maps = zip(features, shapes(detection, len(features)), strict=True)
    for number, (x, sides) in enumerate(of_maps, start=1):
        if config.dropout:
            x = keras.layers.Dropout(config.dropout, name=f"dropout_{number}")(x)
        codes.append(_predictor(x, len(sides), f"box_predictor_{number}", [0.0] * 4))
        classes.append(_predictor(x, len(sides), f"{CLASS_PREDICTOR}_{number}", nothing))
    together = [
        keras.layers.Concatenate(axis=1, dtype="float32", name=name)(of_maps)
        for name, of_maps in (("codes", codes), ("logits", classes))
    ]
    outputs = keras.layers.Concatenate(dtype="float32", name="anchors")(together)
    return keras.Model(inputs, outputs, name=HEAD)
