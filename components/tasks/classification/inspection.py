"""What `mirante inspect` asks about data with one class per image."""

from collections.abc import Mapping

# Whether a model's answers can be compared with the class of an image.
HAS_ONE_CLASS = True
HAS_BOXES = False

# Sources of well-known sets with images of one size, and the recipe for one of them.
_KNOWN_SETS = {"idx": ("mnist", 28), "cifar": ("cifar10", 32)}
# The bounds of these recipes are those of MNIST and CIFAR-10, which the others of their families miss.
_FAMILY_BOUNDS = {"evaluation.thresholds": {"accuracy": 0.5}}
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
    recipe, known_px = _KNOWN_SETS.get(source, ("", 0))
    if recipe and side_px == known_px:
        return recipe, _FAMILY_BOUNDS
    if source == "digits":
        return "digits", {}
    if side_px <= _SMALL_PX:
        size_px = 32 if side_px <= 36 else _SMALL_PX
        small: dict[str, object] = {
            "model.name": "lenet" if is_gray else "cifar_resnet",
            "model.weights": None,
            "transform.height_px": size_px,
            "transform.width_px": size_px,
        }
        return "folder", {**small, "transform.channels": 1} if is_gray else small
    for size_px in _PRETRAINED_PX:
        if side_px <= size_px:
            return "folder", {"transform.height_px": size_px, "transform.width_px": size_px}
    return "folder", {}
