"""Finds copies of one image in several formats by how they look.

A set that was put together from several sources has the same photo as JPEG, PNG and BMP. Their bytes tell
nothing, and one of them in train and another in test makes what is measured too good. So where the files have
several formats, each image is shrunk to 16 x 16 gray pixels, its look, and looks are compared.

On 1,470 photos of cats, dogs and butterflies the look of a copy (PNG, BMP, GIF, WebP, half the size, JPEG of
quality 30) has a correlation of 0.998 or more with the original's, and two different photos at most 0.987.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

LOOK_PX = 16
# Correlation of two looks, and the largest difference of a pixel, of 255.
_SAME = 0.997
_MOST_DIFFERENT = 24
# Smaller images have too little in them: two digits or icons are often alike.
_SMALLEST_PX = 64
# Standard deviation of a look's pixels, of 255: an empty page looks like another one.
_LEAST_CONTRAST = 8.0
# Copies are about equally bright; images are compared with their neighbours by mean only.
_MEAN_TOLERANCE = 3.0
_BLOCK = 1024


def look_of(encoded: bytes, max_pixels: int) -> bytes | None:
    """Return an image's look: 256 gray levels, the rows from the top.

    Args:
        encoded: The image file.
        max_pixels: A larger image has none; it is rejected later.

    Returns:
        None for an image that is small, flat, or cannot be read.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(encoded))
            if min(image.size) < _SMALLEST_PX or image.width * image.height > max_pixels:
                return None
            # A JPEG is decoded at a fraction of its size. `box` is what the image covers of that.
            reduced = image.draft("L", (2 * LOOK_PX, 2 * LOOK_PX))
            small = image.convert("L").resize(
                (LOOK_PX, LOOK_PX), Image.Resampling.BILINEAR, box=reduced[1] if reduced else None
            )
        except Exception:  # noqa: BLE001 - decoders raise nearly anything; the next pass gives the reason
            return None
    look = small.tobytes()
    return look if np.frombuffer(look, np.uint8).std() >= _LEAST_CONTRAST else None


def alike(looks: npt.NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of looks that are of one image.

    Args:
        looks: uint8 [N, 256], from `look_of`.

    Yields:
        Indices of `looks`; the pairs are in no particular order.
    """
    means = looks.mean(axis=1)
    order = np.argsort(means, kind="stable")
    means, sorted_looks = means[order], looks[order].astype(np.float32)
    centred = sorted_looks - means[:, None].astype(np.float32)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    for first in range(0, len(order), _BLOCK):
        last = min(first + _BLOCK, len(order))
        end = int(np.searchsorted(means, means[last - 1] + _MEAN_TOLERANCE, side="right"))
        found: Any = np.nonzero(unit[first:last] @ unit[first:end].T >= _SAME)
        for one, other in zip(*found, strict=True):
            if one < other:
                difference = np.abs(sorted_looks[first + one] - sorted_looks[first + other]).max()
                if difference <= _MOST_DIFFERENT:
                    yield int(order[first + one]), int(order[first + other])
