"""What `mirante inspect` asks about data with boxes."""

from collections.abc import Mapping

# Whether a model's answers can be compared with the class of an image.
HAS_ONE_CLASS = False
HAS_BOXES = True

# The recipe `voc` trains long enough for this many images; fewer want the shorter training.
_MANY_IMAGES = 1000


def choose_recipe(
    source: str, images: int, side_px: float, *, is_gray: bool
) -> tuple[str, Mapping[str, object]]:
    """Return a built-in recipe, and the values that these data need instead of its own, by their keys."""
    if images >= _MANY_IMAGES:
        return "voc", {}
    # Its bounds are those of its own data.
    return "asirra_detection", {"evaluation.thresholds.map_50": 0.5, "evaluation.thresholds.map": 0}
