"""What a weights file holds, by the names and shapes in it.

Imports no Keras: a wrong file is refused before anything is done for the run.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from components.base.errors import UsageError
from components.models.applications import APPLICATIONS, Application, application_named, prefix_of
from components.models.config import ModelConfig
from components.models.networks import NETWORKS

if TYPE_CHECKING:
    import h5py

# Filters of the last projection, `block_16_project`: 320 x alpha rounded to a multiple of 8, which tells the
# published widths apart.
ALPHA_BY_PROJECTION = {112: 0.35, 160: 0.5, 240: 0.75, 320: 1.0, 416: 1.3, 448: 1.4}
# Filters of the last convolution, `top_conv`: 1280 x width. B0 and B1 have the same, B1 is deeper.
_EFFICIENTNET_BY_FILTERS = {
    1280: "efficientnet_b1",
    1408: "efficientnet_b2",
    1536: "efficientnet_b3",
    1792: "efficientnet_b4",
    2048: "efficientnet_b5",
    2304: "efficientnet_b6",
    2560: "efficientnet_b7",
}
_EFFICIENTNET_B1_LAYER = "block1b_dwconv"
# A layer that only this network has (of EfficientNets, the first version), and VGG19's that VGG16 has not.
_EFFICIENTNETS = [name for name, network in NETWORKS.items() if network.module == "efficientnet"]
_OWN_LAYER: dict[str, str] = {
    "mobilenet_v2": "block_16_project",
    "ssd_mobilenet_v2": "block_16_project",
    "vgg16": "block5_conv3",
    **dict.fromkeys(_EFFICIENTNETS, "block2a_dwconv"),
}
_MOBILENETS = ("mobilenet_v2", "ssd_mobilenet_v2")
_FOREIGN_LAYER = "block5_conv4"
# Deflate packs no more into a byte.
_LARGEST_RATIO = 1032
# Numbers that one layout of files has and another has not: of Keras' Normalization, and random states.
_UNCOUNTED = 500
_IMAGENET_CLASSES = 1000
_TOP_LAYERS = ("predictions", "Logits", "fc1", "fc2")


def check_weights(config: ModelConfig) -> None:
    """Refuse a `model.weights` that cannot be this network's; reads no tensor.

    Raises:
        UsageError: There is no such file, it is no HDF5, another network's, of another width or with the top.
    """
    weights = config.weights
    if weights is None or weights == "imagenet":
        return
    if not os.path.isfile(weights):
        what = (
            "what the function of model.name reads"
            if config.builder
            else "a Keras .h5 file without the top layers"
        )
        raise UsageError(
            f"model.weights: no such file: {weights}; give {what}, `imagenet` to download the published "
            "weights, or null"
        )
    if config.builder:
        return
    row = application_named(config.name)
    if row is not None:
        _check_count(config.name, row, weights)
        return
    shapes = _shapes_by_layer(weights)
    if weights.endswith(".weights.h5") and (config.name not in _MOBILENETS or config.alpha is not None):
        return  # Keras 3's own layout counts the layers and names none
    if _OWN_LAYER[config.name] not in shapes or _FOREIGN_LAYER in shapes:
        raise UsageError(
            f"model.weights: {weights} holds no {config.name}: it has "
            f"{'a' if _FOREIGN_LAYER in shapes else 'no'} layer "
            f"{_FOREIGN_LAYER if _FOREIGN_LAYER in shapes else _OWN_LAYER[config.name]}. Give a file of this "
            "network, or set model.name to the file's"
        )
    top = [name for name in _TOP_LAYERS if name in shapes]
    if top:
        raise UsageError(
            f"model.weights: {weights} holds the top layers too ({', '.join(top)}): give the file without "
            "them; those that Keras publishes are called ..._no_top.h5 or ..._notop.h5"
        )
    if config.name in _EFFICIENTNETS:
        found = _efficientnet_of(shapes)
        if found != config.name:
            raise UsageError(
                f"model.weights: {weights} is of {found}, and model.name is {config.name}: set model.name to "
                "the file's, or give a file of this network"
            )
    if config.name in _MOBILENETS:
        alpha = alpha_of(weights)
        if config.alpha not in (None, alpha):
            raise UsageError(
                f"model.weights: {weights} is of alpha {alpha}, and model.alpha is {config.alpha}: leave "
                "model.alpha out, it is read from the file"
            )


def _check_count(name: str, row: Application, weights: str) -> None:
    """Refuse a file that holds more or fewer numbers than a network of keras.applications has.

    No two of these networks have equally many, so the file's network is found out too.
    """
    found = sum(math.prod(shape) for shape in _shapes(weights).values())
    if abs(found - row.parameters) <= _UNCOUNTED:
        return
    other = next(
        (key for key, each in APPLICATIONS.items() if abs(found - each.parameters) <= _UNCOUNTED), None
    )
    top = (row.features + 1) * _IMAGENET_CLASSES
    if other is not None:
        what = f"is of {prefix_of(name)}{other}: set model.name to it, or give a file of {name}"
    elif abs(found - row.parameters - top) <= _UNCOUNTED:
        what = (
            "holds the top layers too: give the file without them; those that Keras publishes are called "
            "..._no_top.h5 or ..._notop.h5"
        )
    else:
        what = (
            f"holds no {name} without its top: expected {row.parameters:,} numbers, got {found:,}; give a "
            "file of this network, or set model.name to the file's"
        )
    raise UsageError(f"model.weights: {weights} {what}")


def alpha_of(weights_file: str) -> float:
    """Return the width multiplier of a MobileNetV2 weights file (.h5), from its tensors' shapes.

    Raises:
        UsageError: The file is no HDF5 file, or holds no MobileNetV2 of a known width.
    """
    shapes = _shapes_by_layer(weights_file)
    filters = [shape[-1] for shape in shapes.get(_OWN_LAYER["mobilenet_v2"], []) if len(shape) == 4]
    if not filters or filters[0] not in ALPHA_BY_PROJECTION:
        raise UsageError(
            f"model.weights: {weights_file} holds no MobileNetV2 of a known width (its block_16_project has "
            f"{filters[0] if filters else 'no'} filters); is it another network's? Else set model.alpha"
        )
    return ALPHA_BY_PROJECTION[filters[0]]


def _efficientnet_of(shapes: dict[str, list[tuple[int, ...]]]) -> str:
    """Return which EfficientNet a file is of, by the last convolution's filters and the depth."""
    filters = [shape[-1] for shape in shapes.get("top_conv", []) if len(shape) == 4]
    if not filters or filters[0] not in _EFFICIENTNET_BY_FILTERS:
        return f"an unknown EfficientNet (its top_conv has {filters[0] if filters else 'no'} filters)"
    if filters[0] == 1280 and _EFFICIENTNET_B1_LAYER not in shapes:
        return _EFFICIENTNETS[0]
    return _EFFICIENTNET_BY_FILTERS[filters[0]]


def _shapes_by_layer(weights_file: str) -> dict[str, list[tuple[int, ...]]]:
    """Return the shapes of all tensors below each group of the file, by the group's own name."""
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for name, shape in _shapes(weights_file).items():
        for group in set(name.split("/")[:-1]):
            shapes.setdefault(group, []).append(shape)
    return shapes


def _shapes(weights_file: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors of the file by their paths.

    Raises:
        UsageError: It cannot be read as an HDF5 file.
    """
    import h5py

    try:
        with h5py.File(weights_file) as file:
            return dataset_shapes(file)
    # A damaged file makes h5py raise nearly anything.
    except Exception as e:
        raise UsageError(
            f"model.weights: {weights_file} cannot be read as an HDF5 file: {_first_line(e)}. Give a Keras "
            ".h5 file; download it again if it should be one"
        ) from e


def dataset_shapes(file: h5py.Group) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a file's arrays of numbers by their paths; no value is read.

    Raises:
        ValueError: An array cannot be read, or claims more than the file holds.
        Exception: What h5py raises for a damaged file.
    """
    import h5py

    file_bytes = os.path.getsize(file.file.filename)
    shapes: dict[str, tuple[int, ...]] = {}

    def visit(name: str, item: object) -> None:
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiub" or item.shape is None:
            return
        if item.is_virtual or item.external:
            raise ValueError(f"{name} is in another file")
        stored = min(item.id.get_storage_size(), file_bytes)
        if item.nbytes > stored * (_LARGEST_RATIO if item.chunks else 1):
            raise ValueError(f"{name} is of shape {tuple(item.shape)}, and the file is too small to hold it")
        shapes[name] = tuple(int(size) for size in item.shape)

    file.visititems(visit)
    return shapes


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
