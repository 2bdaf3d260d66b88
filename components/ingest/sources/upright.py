"""Sets the images of EMNIST upright: its files have them on their sides, with rows and columns exchanged."""

import io
from collections.abc import Iterable
from pathlib import Path

from components.ingest.sources.context import SourceContext

# Pixels that are held at a time.
_BLOCK_BYTES = 1 << 22


def must_transpose(context: SourceContext, names: Iterable[str]) -> bool:
    """Return whether to exchange rows and columns: as the user says, else if a name contains emnist.

    Warns about EMNIST, whichever it is.

    Args:
        context: The ingest.
        names: Of the data set or its files.
    """
    is_emnist = any("emnist" in name.lower() for name in names)
    transpose = is_emnist if context.config.transpose is None else context.config.transpose
    if is_emnist:
        done = (
            "rows and columns were exchanged, so that they are upright; --transpose no (data.transpose) "
            "keeps them as they are"
            if transpose
            else "they were kept so, and a model that learns them has to be asked about such images"
        )
        context.index.warn(f"EMNIST's images are on their sides: {done}.")
    return transpose


def write_transposed(file: Path, counts: tuple[int, int, int], offset: int, target: Path) -> None:
    """Write images with rows and columns exchanged.

    Args:
        file: Holds uint8 [count, height, width].
        counts: These three numbers.
        offset: Of the first value.
        target: Gets uint8 [count, width, height], and nothing else.
    """
    import numpy as np

    count, height, width = counts
    at_a_time = max(1, _BLOCK_BYTES // (height * width))
    with file.open("rb") as source, target.open("wb") as out:
        source.seek(offset)
        for first in range(0, count, at_a_time):
            images = min(at_a_time, count - first)
            pixels = np.frombuffer(source.read(images * height * width), np.uint8)
            out.write(pixels.reshape(images, height, width).transpose(0, 2, 1).tobytes())


def transpose_png(encoded: bytes) -> bytes:
    """Return a PNG of an encoded image with its rows and columns exchanged; what is no image as it is."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
            turned = image.transpose(Image.Transpose.TRANSPOSE)
    except Exception:  # noqa: BLE001 - decoders raise nearly anything; the reason is given when it is written
        return encoded
    buffer = io.BytesIO()
    turned.save(buffer, format="PNG")
    return buffer.getvalue()
