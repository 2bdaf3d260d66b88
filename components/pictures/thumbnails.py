"""Small images of images. Importing this imports no Pillow."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any


def shrink(encoded: bytes, most_px: int, *, may_be_cut: bool = False) -> tuple[bytes, str, bool]:
    """Return an image file of at most this size, its kind, and whether it was that small before.

    Args:
        encoded: The image file.
        most_px: The longer side.
        may_be_cut: Whether the part that is there of a file that is cut off will do.

    Raises:
        OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError: It cannot be decoded.
    """
    from PIL import Image

    with _decode_cut_files(may_be_cut), Image.open(io.BytesIO(encoded)) as image:
        is_small = max(image.size) <= most_px
        if is_small and image.format == "PNG" and not may_be_cut:
            image.load()  # a damaged one is refused here, and not by the reader's browser
            return encoded, "png", True
        image.draft("RGB", (most_px, most_px))
        reduced = image.convert("RGB")
        reduced.thumbnail((most_px, most_px))
    return to_jpeg(reduced), "jpeg", is_small


@contextlib.contextmanager
def _decode_cut_files(allowed: bool) -> Iterator[None]:
    """Have Pillow decode as much as there is of a file; it has only a switch for the whole process."""
    from PIL import ImageFile

    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = allowed or before
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def to_jpeg(image: Any) -> bytes:
    """Return a Pillow image as a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
