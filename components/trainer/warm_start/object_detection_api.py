"""Names of MobileNetV2's variables in checkpoints of the TensorFlow Object Detection API.

    TF 1, and TF-Slim's classifiers   FeatureExtractor/MobilenetV2/expanded_conv_3/expand/BatchNorm/gamma
    TF 2, object-based                model/_feature_extractor/mobilenet_v2/layer_with_weights-17/gamma/...

in the place of which this project has Keras' `block_3_expand_BN/gamma`. The layers of TF 2 are counted in
their order. What is behind the backbone is built otherwise there and has no counterpart.

Source: research/object_detection/models and research/slim/nets/mobilenet of
https://github.com/tensorflow/models.
"""

import re
from collections.abc import Iterable

_BLOCKS = 17
_SLIM = re.compile(
    r"(?:FeatureExtractor/)?MobilenetV2/(?P<block>Conv|Conv_1|expanded_conv(?:_\d+)?)/"
    r"(?:(?P<part>expand|depthwise|project)/)?(?P<norm>BatchNorm/)?(?P<variable>\w+)"
)
_OBJECTS = re.compile(
    r"(?:model/)?_feature_extractor/(?:mobilenet_v2|classification_backbone)/"
    r"layer_with_weights-(?P<number>\d+)/(?P<variable>\w+)/\.ATTRIBUTES/VARIABLE_VALUE"
)
_VARIABLES = {
    "weights": "kernel",
    "depthwise_weights": "kernel",
    "depthwise_kernel": "kernel",
    **{name: name for name in ("kernel", "gamma", "beta", "moving_mean", "moving_variance")},
}


def layers() -> list[str]:
    """Return the layers with weights of Keras' MobileNetV2 without its top, in their order."""
    names = ["Conv1", "bn_Conv1"]
    for number in range(_BLOCKS):
        block = f"block_{number}" if number else "expanded_conv"
        for part in ("expand", "depthwise", "project") if number else ("depthwise", "project"):
            names += [f"{block}_{part}", f"{block}_{part}_BN"]
    return [*names, "Conv_1", "Conv_1_bn"]


def keras_names(names: Iterable[str]) -> dict[str, str]:
    """Return the checkpoint's names of the backbone's variables, by their paths in Keras' network.

    Empty if it is not the Object Detection API's or TF-Slim's, or if it has another backbone.
    """
    in_order = layers()
    found = {}
    for name in names:
        layer = None
        if match := _SLIM.fullmatch(name):
            layer = _of_slim(match["block"], match["part"], is_norm=bool(match["norm"]))
        elif (match := _OBJECTS.fullmatch(name)) and int(match["number"]) < len(in_order):
            layer = in_order[int(match["number"])]
        if layer and match and match["variable"] in _VARIABLES:
            found[f"{layer}/{_VARIABLES[match['variable']]}"] = name
    return found


def _of_slim(block: str, part: str | None, *, is_norm: bool) -> str | None:
    if block in ("Conv", "Conv_1"):
        names = {"Conv": ("Conv1", "bn_Conv1"), "Conv_1": ("Conv_1", "Conv_1_bn")}[block]
        return names[is_norm]
    if part is None:
        return None
    name = block.replace("expanded_conv_", "block_")
    return f"{name}_{part}{'_BN' if is_norm else ''}"
