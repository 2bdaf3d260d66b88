"""Refuses images that would fill the memory when they are decoded."""

import io
import warnings
from collections.abc import Mapping

from PIL import Image

from pipeline.serving.arrays import Array
from pipeline.serving.errors import invalid


def check_images(inputs: Mapping[str, Array], max_pixels: int) -> None:
    """Check the inputs whose name ends in `_bytes`, as far as Pillow knows their formats.

    Raises:
        ServingError: An image has more pixels than allowed.
    """
    for alias, array in inputs.items():
        if not alias.endswith("_bytes") or array.dtype != object:
            continue
        for content in array.ravel().tolist():
            pixels = _count_pixels(content)
            if pixels > max_pixels:
                raise invalid(
                    f"input {alias}: expected an image of at most {max_pixels} pixels, got {pixels}"
                )


def _count_pixels(content: bytes) -> int:
    try:
        with warnings.catch_warnings():
            # Pillow's own limit is not the one that counts here.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                return image.width * image.height
    except Image.DecompressionBombError:
        return 2 * (Image.MAX_IMAGE_PIXELS or 0) + 1
    except (OSError, ValueError, SyntaxError, TypeError, EOFError):
        return 0
