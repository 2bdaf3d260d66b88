"""What `mirante inspect` asks about data with one class per image."""

from collections.abc import Mapping

from components.models.advice import fit_network

# Whether a model's answers can be compared with the class of an image.
HAS_ONE_CLASS = True
HAS_BOXES = False

# Sources of well-known sets with images of one size, and the recipe for one of them.
_KNOWN_SETS = {"idx": ("mnist", 28), "cifar": ("cifar10", 32)}
# The bounds of these recipes are those of MNIST and CIFAR-10, which the others of their families miss.
_FAMILY_BOUNDS = {"evaluation.thresholds": {"accuracy": 0.5}}


def choose_recipe(
    source: str, images: int, side_px: float, *, is_gray: bool
) -> tuple[str, Mapping[str, object]]:
    """Return a built-in recipe, and the values that these data need instead of its own, by their keys."""
    recipe, known_px = _KNOWN_SETS.get(source, ("", 0))
    if recipe and side_px == known_px:
        return recipe, _FAMILY_BOUNDS
    if source == "digits":
        return "digits", {}
    return "folder", fit_network(side_px, is_gray=is_gray)
