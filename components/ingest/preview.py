"""The pixels of an image as they are known once it was checked: of a JPEG at a fraction of its size."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image as PillowImage


@dataclasses.dataclass(frozen=True)
class Preview:
    """The pixels of an image, maybe at a smaller size.

    Attributes:
        image: Mode L or RGB, upright.
        box: What the image covers of it, (left, top, right, bottom) in its pixels; None for all.
    """

    image: PillowImage.Image
    box: tuple[float, float, float, float] | None = None

    def shrink(self, width_px: int, height_px: int) -> bytes:
        """Return width_px * height_px grey levels, the rows from the top."""
        from PIL import Image

        grey = self.image if self.image.mode == "L" else self.image.convert("L")
        # Not BOX, whose cells jump by whole pixels of the source.
        return grey.resize((width_px, height_px), Image.Resampling.BILINEAR, box=self.box).tobytes()


def preview_of(image: PillowImage.Image, small: npt.NDArray[np.uint8] | None) -> Preview:
    """Return the pixels of an image that keeps its bytes; small: of a JPEG that was decoded at a fraction."""
    from PIL import Image

    if small is None:
        return Preview(image)
    # libjpeg scales by eighths and rounds up: the image may cover a part of the last column and row.
    height, width = small.shape
    pixels = Image.frombuffer("L", (width, height), small.tobytes(), "raw", "L", 0, 1)
    for eighths in range(1, 9):
        if (width, height) == (-(-image.width * eighths // 8), -(-image.height * eighths // 8)):
            return Preview(pixels, (0.0, 0.0, image.width * eighths / 8, image.height * eighths / 8))
    return Preview(pixels)
