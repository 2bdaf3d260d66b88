"""Rounding of boxes: the decimals of a pixel that a float32 share of an image's side can tell."""

import math


def sure_decimals(size_px: int) -> int:
    """Return the decimals of a pixel that float32 shares of an image's side can tell.

    A share is off by up to 2^-25, so that 32 px of 640 come back as 32.0000005, and a box of 32 x 32 px as
    more than 1024 square pixels. Rounded to this many decimals (4 for 640 px), sides are what they were.

    Args:
        size_px: The side of the image.
    """
    return int(-math.log10(size_px * 2.0**-24))
