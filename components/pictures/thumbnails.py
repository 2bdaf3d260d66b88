"""Small images of images. Importing this imports no Pillow."""

import io
from typing import Any


def shrink(encoded: bytes, most_px: int) -> tuple[bytes, str, bool]:
    """Return an image file of at most this size, its kind, and whether it was that small before.

    Raises:
        OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError: It cannot be decoded.
    """
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as image:
        is_small = max(image.size) <= most_px
        if is_small and image.format == "PNG":
            image.load()  # a damaged one is refused here, and not by the reader's browser
            return encoded, "png", True
        image.draft("RGB", (most_px, most_px))
        reduced = image.convert("RGB")
        reduced.thumbnail((most_px, most_px))
    return to_jpeg(reduced), "jpeg", is_small


def to_jpeg(image: Any) -> bytes:
    """Return a Pillow image as a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
