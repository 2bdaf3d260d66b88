"""The head of SSD detectors: feature maps of a backbone to codes and logits of anchors.

Extra layers halve the backbone's coarsest map again and again. With a feature pyramid, each map of the
backbone is added to the next finer one before anything is predicted. On each map, two SSDLite predictors (a
depthwise convolution, then a pointwise one) give for each anchor four codes of its box
(components/tasks/detection/geometry.py) and the logits of its classes.

Sources: Liu et al., SSD: Single shot multibox detector, 2016 (https://arxiv.org/abs/1512.02325); Sandler et
al., MobileNetV2 (SSDLite, section 6.2), 2018 (https://arxiv.org/abs/1801.04381); of the pyramid, Lin et al.,
Feature pyramid networks for object detection, 2017 (https://arxiv.org/abs/1612.03144); of the first logits'
bias, Lin et al., Focal loss for dense object detection, 2017, section 3.3.
"""

import importlib
import math

import keras
import numpy as np

from components.base.arrays import Array
from components.models import CLASS_PREDICTOR, HEAD
from components.models.anchors import make_anchors, shapes
from components.models.batch_norm import BatchNormalization
from components.models.config import DetectionConfig, ModelConfig

# Filters of the pyramid's maps; narrower networks have narrower ones.
_PYRAMID_FILTERS = 128
# Filters of the extra layers, as in SSD; narrower networks have narrower ones.
_EXTRA_FILTERS = (512, 256, 256, 128)
# Probability of a box that each anchor gives at the beginning.
_PRIOR = 0.01
# Momentum of batch norms' statistics. Keras' own, 0.99 and in MobileNetV2 0.999, take hundreds and thousands
# of steps to follow the weights.
_MOMENTUM = 0.9


def anchors_of(config: ModelConfig, input_shape: tuple[int, int, int]) -> Array:
    """Return the anchors of a detector's outputs, in their order: float32 [A, 4]."""
    return make_anchors(config.detection, map_shapes(config, input_shape))


def map_shapes(config: ModelConfig, input_shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Return rows and columns of each feature map of a detector, the finest first."""
    assert config.network is not None, config.name
    module = importlib.import_module(f"components.models.{config.network.module}")
    found = list(module.backbone_shapes(config, input_shape))
    for _ in range(config.detection.extra_layers):
        found.append((math.ceil(found[-1][0] / 2), math.ceil(found[-1][1] / 2)))
    return found


def quicken_batch_norms(backbone: keras.Model) -> None:
    """Have the statistics of a backbone that starts from random weights follow the weights."""
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _MOMENTUM


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


def _pyramid(maps: list[keras.KerasTensor], filters: int) -> list[keras.KerasTensor]:
    """Return the maps, each with what the coarser ones know: of `filters` channels, the finest first."""
    layers = keras.layers
    sides = [
        layers.Conv2D(filters, 1, use_bias=False, name=f"pyramid_{number}_lateral")(x)
        for number, x in enumerate(maps, start=1)
    ]
    sides = [
        BatchNormalization(momentum=_MOMENTUM, epsilon=1e-3, name=f"pyramid_{number}_lateral_norm")(x)
        for number, x in enumerate(sides, start=1)
    ]
    for place in range(len(sides) - 2, -1, -1):
        name, fine = f"pyramid_{place + 1}", sides[place]
        above = layers.UpSampling2D(2, name=f"{name}_above")(sides[place + 1])
        # Of a map with an odd number of rows, the next one's are more than half as many, or less where a
        # backbone leaves out edges.
        more = [large - small for large, small in zip(above.shape[1:3], fine.shape[1:3], strict=True)]
        if any(each > 0 for each in more):
            above = layers.Cropping2D([(0, max(each, 0)) for each in more], name=f"{name}_cropped")(above)
        if any(each < 0 for each in more):
            above = layers.ZeroPadding2D([(0, max(-each, 0)) for each in more], name=f"{name}_padded")(above)
        sides[place] = layers.Add(name=f"{name}_sum")([fine, above])
    found = []
    for number, x in enumerate(sides, start=1):
        # Nearest neighbours leave steps.
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"pyramid_{number}_depthwise")(x)
        x = _norm(x, f"pyramid_{number}_depthwise")
        x = layers.Conv2D(filters, 1, use_bias=False, name=f"pyramid_{number}_smooth")(x)
        found.append(_norm(x, f"pyramid_{number}_smooth"))
    return found


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


def _narrow(filters: int, alpha: float) -> int:
    return max(32, int(filters * min(alpha, 1.0)) // 8 * 8)


def build_head(
    config: ModelConfig, maps: dict[str, tuple[int, int, int]], num_classes: int, alpha: float = 1.0
) -> keras.Model:
    """Build the head: a backbone's feature maps to `[N, A, 4 + logits]`.

    `logits` is `num_classes` with focal loss and one more, for background, with hard-negative mining.

    Args:
        config: The recipe's `model` part.
        maps: Rows, columns and channels of each map by the name of its layer, the finest first.
        num_classes: The classes without background.
        alpha: Width of the backbone, as a factor.
    """
    detection = config.detection
    inputs = [keras.Input(shape, name=name) for name, shape in maps.items()]
    features = list(inputs)
    if detection.neck == "fpn":
        features = _pyramid(features, _narrow(_PYRAMID_FILTERS, alpha))
    for number, filters in enumerate(_EXTRA_FILTERS[: detection.extra_layers], start=1):
        features.append(_extra(features[-1], _narrow(filters, alpha), f"extra_{number}"))
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
