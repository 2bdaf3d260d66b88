"""What `mirante inspect` asks about data with several classes per image."""

from collections.abc import Mapping

# Whether a model's answers can be compared with the class of an image.
HAS_ONE_CLASS = False
HAS_BOXES = False

# Networks without pretrained weights are for images up to this size.
_SMALL_PX = 48
# Sizes for which there are pretrained weights, below that of the recipe.
_PRETRAINED_PX = (96, 128, 160, 192)


def choose_recipe(
    source: str, images: int, side_px: float, *, is_gray: bool
) -> tuple[str, Mapping[str, object]]:
    """Return a built-in recipe, and the values that these data need instead of its own, by their keys.

    Args:
        source: What reads the data.
        images: How many there are.
        side_px: The median of their shorter sides.
        is_gray: Whether all are gray.
    """
    if source == "digits":
        return "digits_multilabel", {}
    if side_px <= _SMALL_PX:
        size_px = 32 if side_px <= 36 else _SMALL_PX
        small: dict[str, object] = {
            "model.name": "lenet" if is_gray else "cifar_resnet",
            "model.weights": None,
            "transform.height_px": size_px,
            "transform.width_px": size_px,
        }
        return "multilabel", {**small, "transform.channels": 1} if is_gray else small
    for size_px in _PRETRAINED_PX:
        if side_px <= size_px:
            return "multilabel", {"transform.height_px": size_px, "transform.width_px": size_px}
    return "multilabel", {}
