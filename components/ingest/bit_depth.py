"""How samples of more than 8 bits become 8 bits: the rule of `data.bit_depth`.

    16               the upper 8 of 16 bits, as libpng's png_set_strip_16 and TensorFlow do
    8, 10, 12, 14    the upper 8 of that many lower bits; larger values become white, and are counted
    percentile       each image by itself, from black at its 0.5 percentile to white at its 99.5 percentile

Ingest also takes `auto`, and makes a number of it (components/ingest/auto_depth.py).

The rule is for files that leave open how much of 16 bits they use: PNG, TIFF, PNM and JPEG 2000 of 16 bits.
A TIFF of 12 bits, a PNM or JPEG 2000 of 9 to 15, AVIF, HEIC and DICOM say what their largest value is. They
become 8 bits by that, with every rule but `percentile`, which is for all images of one channel with more than
8 bits. Nothing is guessed from the values: an image is not brightened because it is dark, nor because another
image was added. `percentile` does the former, and is used only if it is asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from components.ingest.whole import JPEG_2000_STREAM, RejectedImage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image as PillowImage

    from components.base.arrays import Array

UPPER: Final = "16"
PERCENTILE: Final = "percentile"
AUTO: Final = "auto"
DEPTHS = ("8", "10", "12", "14", UPPER)
RULES = (*DEPTHS, PERCENTILE)
# Shares of the pixels that are at most the values which become black and white.
LOW_SHARE, HIGH_SHARE = 0.005, 0.995
# No value above a quarter of 16 bits: the upper 8 bits are nearly black.
_QUARTER = 1 << 14
_PART = 1 << 20
LOW_RANGE = (
    "16 bits per channel and no value above a quarter of the range: the upper 8 bits, which are kept, are "
    "nearly black"
)

_TIFF_BITS = 258
_TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_PNG_BITS_AT = 24
_PRECISION_AT = 42


@dataclasses.dataclass(frozen=True)
class Depths:
    """Counts of images that have 16 bits per channel, and of those that the rule does not fit.

    Attributes:
        images: All of them.
        largest: The largest value of all.
        dark: Images without a value above a quarter of the range, whose upper 8 bits are nearly black.
        first_dark: The path of the first of them, in the order of paths.
        above: Images with values above those of the rule.
        first_above: The path of the first of them.
    """

    images: int = 0
    largest: int = 0
    dark: int = 0
    first_dark: str = ""
    above: int = 0
    first_above: str = ""

    @classmethod
    def of(cls, path: str, largest: int, rule: str) -> Depths:
        """Count one image.

        Args:
            path: Its path.
            largest: Its largest value.
            rule: One of RULES.
        """
        dark = is_dark(largest, rule)
        above = rule in DEPTHS and largest >= 1 << int(rule)
        return cls(1, largest, int(dark), path * dark, int(above), path * above)

    @classmethod
    def total(cls, parts: Iterable[Depths]) -> Depths:
        """Add up."""
        parts = list(parts)
        return cls(
            sum(part.images for part in parts),
            max((part.largest for part in parts), default=0),
            sum(part.dark for part in parts),
            min((part.first_dark for part in parts if part.dark), default=""),
            sum(part.above for part in parts),
            min((part.first_above for part in parts if part.above), default=""),
        )


def is_dark(largest: int | None, rule: str) -> bool:
    """Return whether the upper 8 bits of an image, which the rule keeps, are nearly black.

    Args:
        largest: Its largest value of 16 bits; None if it has no 16 bits.
        rule: One of RULES.
    """
    return rule == UPPER and largest is not None and 0 < largest < _QUARTER


def find_depth(largest: int) -> str | None:
    """Return the least of DEPTHS that holds a value; None if that is 16 bits."""
    return next((depth for depth in DEPTHS[:-1] if largest < 1 << int(depth)), None)


def sample_bits(image: PillowImage.Image, encoded: bytes) -> int:
    """Return how many bits a file says that its samples have; 8 where that is nothing to ask.

    Args:
        image: Opened and not yet loaded.
        encoded: The file.
    """
    if image.format == "TIFF":
        return max(image.tag_v2.get(_TIFF_BITS, (8,)))  # type: ignore[attr-defined]
    if image.format == "PNG":
        return encoded[_PNG_BITS_AT]
    if image.format == "JPEG2000":
        at = encoded.find(JPEG_2000_STREAM) + _PRECISION_AT
        return (encoded[at] & 0x7F) + 1 if at < len(encoded) else 8
    if image.format == "PPM":
        arguments: Any = image.tile[0].args  # type: ignore[attr-defined]
        most = int(arguments[-1]) if isinstance(arguments, tuple) else 65535 if arguments == "I;16B" else 255
        return 16 if most == 65535 else min(max(most.bit_length(), 8), 15)
    return 8


def to_8_bits(image: PillowImage.Image, bits: int, rule: str) -> tuple[PillowImage.Image, int | None]:
    """Return an image of one channel with more than 8 bits as mode L, and its largest value.

    Args:
        image: Loaded, of one of the modes I;16, or I with values up to 65,535.
        bits: What `sample_bits` gave.
        rule: One of RULES.

    Returns:
        The largest value is None where the file says how many bits it has.
    """
    import numpy as np
    from PIL import Image

    sixteen = image if image.mode.startswith("I;16") else image.convert("I;16")
    # Pillow keeps the order of a TIFF's bytes.
    order = ">" if sixteen.mode == "I;16B" else "<"
    values = np.frombuffer(sixteen.tobytes(), f"{order}u2").astype(np.uint16, copy=False)
    if rule == PERCENTILE:
        levels = _stretch(values)
    else:
        # Pillow scales JPEG 2000 and PNM to 16 bits, and TIFF not.
        depth = int(rule) if bits == 16 else bits if image.format == "TIFF" else 16
        levels = np.minimum(values >> (depth - 8), 255).astype(np.uint8)
    if image.format == "TIFF" and image.tag_v2.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:  # type: ignore[attr-defined]
        levels = ~levels  # Pillow inverts 8 bits by itself
    largest = int(values.max(initial=0)) if bits == 16 else None
    return Image.frombytes("L", image.size, levels.tobytes()), largest


def check_colour(bits: int, rule: str) -> None:
    """Refuse an image of several channels with more than 8 bits if the rule needs the lower ones.

    Raises:
        RejectedImage: Decoders give the upper 8 bits alone.
    """
    if bits > 8 and (rule == PERCENTILE or (bits == 16 and rule != UPPER)):
        raise RejectedImage(
            f"several channels of {bits} bits: with bit_depth {rule} only images of one channel are read; "
            "convert it to 8 bits"
        )


def largest_in_colour(image: PillowImage.Image) -> int:
    """Return a bound of the values of an image of 16 bits, of which the upper 8 are left."""
    most = max((level % 256 for level, count in enumerate(image.histogram()) if count), default=0)
    return (most << 8) + 255


def find_percentiles(values: Array) -> tuple[int, int]:
    """Return the values that become black and white: the 0.5 and the 99.5 percentile.

    A percentile is the least value that this share of the pixels does not exceed. If both are the same value,
    these are the least and the largest value instead.

    Args:
        values: Whole numbers from 0 to 65,535, of any shape.
    """
    import numpy as np

    flat, counts = values.ravel(), np.zeros(1 << 16, np.int64)
    # In parts, since bincount copies to 8 bytes per value.
    for first in range(0, flat.size, _PART):
        counts += np.bincount(flat[first : first + _PART], minlength=counts.size)
    until = np.cumsum(counts)
    low, high = (int(np.searchsorted(until, share * until[-1])) for share in (LOW_SHARE, HIGH_SHARE))
    if low == high:
        there = np.flatnonzero(counts)
        low, high = int(there[0]), int(there[-1])
    return low, high


def _stretch(values: Array) -> npt.NDArray[np.uint8]:
    import numpy as np

    low, high = find_percentiles(values)
    every = np.clip(np.arange(1 << 16, dtype=np.int64), low, high) - low
    table = (every * 255 // max(high - low, 1)).astype(np.uint8)
    return table[values]
