"""SSD on any classifier of `keras.applications`: pixels to codes and logits of anchors.

The feature maps are the last ones of stride 16 and 32, with a feature pyramid of stride 8 too, through which
all that the network computes further on has to go. Of MobileNetV2 these are the layers that
components/models/ssd_mobilenet_v2.py names.

Sources: those in the tables of docs/models.md.
"""

import functools

import keras

from components.models import BACKBONE
from components.models.applications import keras_name
from components.models.config import ModelConfig
from components.models.pretrained import application, keep_scaling_in_float32
from components.models.ssd import build_head, quicken_batch_norms

# Feature maps by the neck.
_MAPS = {"none": 2, "fpn": 3}


def build(
    config: ModelConfig, input_shape: tuple[int, int, int], num_classes: int
) -> tuple[keras.Model, keras.Model]:
    """Build backbone `[N, H, W, 3]` to feature maps, head from these to `[N, A, 4 + logits]`.

    Raises:
        UsageError: See `components.models.pretrained.application`.
    """
    whole = application(getattr(keras.applications, keras_name(config.name)), config, input_shape)
    keep_scaling_in_float32(whole, is_from_file=config.weights not in (None, "imagenet"))
    if config.weights is None:
        quicken_batch_norms(whole)
    found = find_maps(whole)[-_MAPS[config.detection.neck] :]
    backbone = keras.Model(whole.inputs, found, name=BACKBONE)
    # Keras numbers some of the layers, so their names are no names to keep.
    maps = {f"map_{number}": tensor.shape[1:] for number, tensor in enumerate(found, start=1)}
    return backbone, build_head(config, maps, num_classes)


def backbone_shapes(config: ModelConfig, input_shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Return rows and columns of each feature map of the backbone, the finest first."""
    return list(_measure_maps(keras_name(config.name), input_shape)[-_MAPS[config.detection.neck] :])


@functools.cache
def _measure_maps(name: str, input_shape: tuple[int, int, int]) -> tuple[tuple[int, int], ...]:
    whole = getattr(keras.applications, name)(input_shape=input_shape, include_top=False, weights=None)
    return tuple(tensor.shape[1:3] for tensor in find_maps(whole))


def find_maps(model: keras.Model) -> list[keras.KerasTensor]:
    """Return the feature maps of strides 8, 16 and 32, in this order.

    Each is the last output of its size that every path from the pixels to the model's output goes through.

    Args:
        model: A network without its top: `[N, H, W, 3]` to the map of stride 32.
    """
    depths = sorted(model._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in model._nodes_by_depth[depth]]
    # The last node that takes what each one gives.
    last = {id(taken): number for number, node in enumerate(nodes) for taken in node.input_tensors}
    found: dict[tuple[int, int], keras.KerasTensor] = {}
    reach = 0
    for number, node in enumerate(nodes):
        (output,) = node.outputs
        if reach <= number and not isinstance(node.operation, keras.layers.ZeroPadding2D):
            found[output.shape[1:3]] = output
        reach = max(reach, last.get(id(output), number))
    return list(found.values())[-3:]
