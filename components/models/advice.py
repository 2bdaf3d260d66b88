"""Which network fits images of a size, for `mirante inspect`. Imports no TensorFlow."""

# Networks without pretrained weights are for images up to this size.
_SMALL_PX = 48
# Sizes for which there are pretrained weights, below that of the recipe.
_PRETRAINED_PX = (96, 128, 160, 192)


def fit_network(side_px: float, *, is_gray: bool) -> dict[str, object]:
    """Return the values that images need instead of those of a recipe with pretrained weights, by their keys.

    Args:
        side_px: The median of the images' shorter sides.
        is_gray: Whether all are gray.
    """
    if side_px <= _SMALL_PX:
        size_px = 32 if side_px <= 36 else _SMALL_PX
        small: dict[str, object] = {
            "model.name": "lenet" if is_gray else "cifar_resnet",
            "model.weights": None,
            "transform.height_px": size_px,
            "transform.width_px": size_px,
        }
        return {**small, "transform.channels": 1} if is_gray else small
    for size_px in _PRETRAINED_PX:
        if side_px <= size_px:
            return {"transform.height_px": size_px, "transform.width_px": size_px}
    return {}
