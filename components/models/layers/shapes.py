"""The shapes between the layers of a list, by arithmetic: a list that cannot be is refused without Keras."""

from collections.abc import Sequence

from components.models.layers.config import LayerConfig

# Height, width and channels of a map; or the number of features.
Shape = tuple[int, ...]

_MAPS_ALONE = ("conv", "max_pool", "average_pool", "global_average_pool", "flatten")
_TO_FEATURES = ("global_average_pool", "flatten")


def find_shapes(layers: Sequence[LayerConfig], shape: Shape, key: str = "model.layers") -> list[Shape]:
    """Return what each layer gives.

    Args:
        layers: The list.
        shape: What the first layer takes.
        key: The list's key in the recipe, for messages.

    Raises:
        ValueError: A layer cannot take what the one before it gives; the message begins with its key.
    """
    found = []
    for number, layer in enumerate(layers):
        shape = _find_shape(layer, shape, f"{key}.{number}")
        found.append(shape)
    return found


def find_features(layers: Sequence[LayerConfig], shape: Shape) -> int:
    """Return how many features a whole network's list ends in.

    Raises:
        ValueError: As `find_shapes`, or it ends in a map.
    """
    *_, last = find_shapes(layers, shape)
    if len(last) != 1:
        raise ValueError(
            f"model.layers: expected features at the end, got a map of {format_shape(last)}; end the list "
            "with flatten or global_average_pool, and any dense layers after that"
        )
    return last[0]


def find_cut(layers: Sequence[LayerConfig]) -> int:
    """Return how many layers there are up to the first that makes features of a map, that one included."""
    return next(number for number, layer in enumerate(layers, start=1) if layer.type in _TO_FEATURES)


def find_shortcut(before: Shape, after: Shape) -> tuple[int, int] | None:
    """Return the strides of a 1 x 1 convolution from one shape to another; None if none leads there."""
    strides = (-(-before[0] // after[0]), -(-before[1] // after[1]))
    reached = (-(-before[0] // strides[0]), -(-before[1] // strides[1]))
    return strides if reached == after[:2] else None


def format_shape(shape: Shape) -> str:
    """Format a shape, such as `7 x 7 x 64` or `1024 features`."""
    return " x ".join(map(str, shape)) if len(shape) == 3 else f"{shape[0]} features"


def _find_shape(layer: LayerConfig, shape: Shape, key: str) -> Shape:
    if layer.type in _MAPS_ALONE and len(shape) != 3:
        raise ValueError(
            f"{key}: {layer.type} needs a map, got {format_shape(shape)}; put it before the layer that makes "
            "features (flatten or global_average_pool)"
        )
    if layer.type == "dense":
        if len(shape) != 1:
            raise ValueError(
                f"{key}: dense needs features, got a map of {format_shape(shape)}; put flatten or "
                "global_average_pool before it"
            )
        return (int(layer.option("units")),)
    if layer.type in ("conv", "max_pool", "average_pool"):
        return _slide(layer, shape, key)
    if layer.type == "residual":
        return _find_sum(layer, shape, key)
    if layer.type == "flatten":
        return (shape[0] * shape[1] * shape[2],)
    return shape[-1:] if layer.type == "global_average_pool" else shape


def _slide(layer: LayerConfig, shape: Shape, key: str) -> Shape:
    """Return the map that a window gives which moves over another map."""
    size, stride = layer.option("size"), layer.option("stride")
    channels = layer.option("filters") if layer.type == "conv" else shape[2]
    if layer.type == "conv" and layer.option("padding") == "same":
        return -(-shape[0] // stride), -(-shape[1] // stride), channels
    if min(shape[:2]) < size:
        more = ", padding: same" if layer.type == "conv" else ", fewer poolings"
        raise ValueError(
            f"{key}: {layer.type} of size {size} needs a map of at least {size} x {size}, got "
            f"{format_shape(shape)}; take a smaller size{more}, or larger images (transform.height_px)"
        )
    return (shape[0] - size) // stride + 1, (shape[1] - size) // stride + 1, channels


def _find_sum(layer: LayerConfig, shape: Shape, key: str) -> Shape:
    """Return what a residual gives: what its layers give, to which their input can be added."""
    *_, after = find_shapes(layer.layers or (), shape, f"{key}.layers")
    if after == shape or (len(after) == len(shape) == 3 and find_shortcut(shape, after)):
        return after
    raise ValueError(
        f"{key}: what a residual takes, {format_shape(shape)}, cannot be added to what its layers give, "
        f"{format_shape(after)}; give convolutions in it padding: same, and to dense layers in it as many "
        "units as they get"
    )
