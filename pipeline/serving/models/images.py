"""Refuses images that would fill the memory when they are decoded."""

import io
import struct
import warnings
from collections.abc import Mapping

from PIL import Image

from components.base.limits import PILLOW_MAX_PIXELS
from pipeline.serving.arrays import Array
from pipeline.serving.errors import invalid

# The signature of a PNG with the head of its first chunk, which begins with width and height.
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_SIZE_END = len(_PNG) + 8


def ignore_pillow_limit() -> None:
    """Turn off Pillow's warning about large images in this process: another limit counts here."""
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)


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


def are_png(inputs: Mapping[str, Array]) -> bool:
    """Return whether `check_images` takes no time: it reads the size of a PNG from its first bytes."""
    return all(
        content.startswith(_PNG)
        for alias, array in inputs.items()
        if alias.endswith("_bytes") and array.dtype == object
        for content in array.ravel().tolist()
    )


def _count_pixels(content: bytes) -> int:
    # Most images are PNG; Pillow would take a tenth of a small model's time.
    if content.startswith(_PNG) and len(content) >= _PNG_SIZE_END:
        width, height = struct.unpack_from(">II", content, len(_PNG))
        return int(width * height)
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.width * image.height
    except Image.DecompressionBombError:
        return PILLOW_MAX_PIXELS + 1
    except (OSError, ValueError, SyntaxError, TypeError, EOFError):
        return 0
