"""The head of SSDLite checkpoints of the TensorFlow Object Detection API (TF 1), trained on COCO.

    BoxPredictor_0/BoxEncodingPredictor_depthwise/depthwise_weights     box_predictor_1_depthwise/kernel
    BoxPredictor_0/ClassPredictor/weights                               class_predictor_1/kernel
    FeatureExtractor/MobilenetV2/layer_19_1_Conv2d_2_1x1_256/weights    extra_1_reduce/kernel

Their SSDLite has the layers of ours. What differs is the order of a box's codes (y, x, height, width) and the
classes (components/trainer/warm_start/coco_classes.py).

Source: research/object_detection/predictors/convolutional_box_predictor.py and
models/feature_map_generators.py of https://github.com/tensorflow/models.
"""

import re
from collections.abc import Iterable

from components.base.arrays import Array

_PREDICTOR = re.compile(
    r"BoxPredictor_(?P<number>\d+)/(?P<head>BoxEncoding|Class)Predictor(?P<depthwise>_depthwise)?/"
    r"(?P<norm>BatchNorm/)?(?P<variable>\w+)"
)
_EXTRA = re.compile(
    r"FeatureExtractor/MobilenetV2/layer_19_(?:1_Conv2d_(?P<reduce>\d+)_1x1_\d+|"
    r"2_Conv2d_(?P<expand>\d+)_3x3_s2_\d+(?P<depthwise>_depthwise)?)/(?P<norm>BatchNorm/)?(?P<variable>\w+)"
)
_HEADS = {"BoxEncoding": "box_predictor", "Class": "class_predictor"}
_VARIABLES = {"weights": "kernel", "depthwise_weights": "kernel", "biases": "bias"}
_NORMS = ("gamma", "beta", "moving_mean", "moving_variance")
# The extra maps are counted from 2 there.
_FIRST_EXTRA = 2
# x, y, width, height in the place of y, x, height, width.
CODES = (1, 0, 3, 2)


def head_names(names: Iterable[str]) -> dict[str, str]:
    """Return the checkpoint's names of the head's variables, by their paths in ours.

    Predictors without a depthwise convolution are not SSDLite's, so they are left out.
    """
    names = set(names)
    found = {}
    for name in names:
        if match := _PREDICTOR.fullmatch(name):
            scope = "/".join(name.split("/")[:2]).removesuffix("_depthwise")
            if f"{scope}_depthwise/depthwise_weights" not in names:
                continue
            layer = f"{_HEADS[match['head']]}_{int(match['number']) + 1}{match['depthwise'] or ''}"
        elif match := _EXTRA.fullmatch(name):
            part = "reduce" if match["reduce"] else "depthwise" if match["depthwise"] else "expand"
            layer = f"extra_{int(match['reduce'] or match['expand']) - _FIRST_EXTRA + 1}_{part}"
        else:
            continue
        variable = match["variable"]
        if match["norm"] and variable in _NORMS:
            found[f"{layer}_norm/{variable}"] = name
        elif not match["norm"] and variable in _VARIABLES:
            found[f"{layer}/{_VARIABLES[variable]}"] = name
    return found


def reorder_codes(path: str, value: Array) -> Array:
    """Return a variable with the codes of boxes in our order, if it gives any."""
    if not re.fullmatch(r"box_predictor_\d+/(kernel|bias)", path):
        return value
    by_anchor = value.reshape(*value.shape[:-1], -1, len(CODES))
    return by_anchor[..., CODES].reshape(value.shape)
