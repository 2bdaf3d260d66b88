"""What `mirante inspect` asks about data with several classes per image."""

from collections.abc import Mapping

from components.models.advice import fit_network

# Whether a model's answers can be compared with the class of an image.
HAS_ONE_CLASS = False
HAS_BOXES = False


def choose_recipe(
    source: str, images: int, side_px: float, *, is_gray: bool
) -> tuple[str, Mapping[str, object]]:
    """Return a built-in recipe, and the values that these data need instead of its own, by their keys."""
    if source == "digits":
        return "digits_multilabel", {}
    return "multilabel", fit_network(side_px, is_gray=is_gray)
