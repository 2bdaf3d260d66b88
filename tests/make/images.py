"""Small image files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image


def make_noise(seed: int, height: int, width: int, channels: int = 3) -> np.ndarray[Any, Any]:
    """Return uint8 [height, width] for one channel, else [height, width, channels]: every level of each."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def encode_image(pixels: np.ndarray[Any, Any], image_format: str = "PNG", **options: Any) -> bytes:
    """Return an image file of the pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=image_format, **options)
    return buffer.getvalue()


def make_image(index: int) -> bytes:
    """Return a small image file; by index JPEG and PNG, in colour and gray, of many sizes."""
    image_format = ("JPEG", "PNG")[index % 2]
    return encode_image(
        make_noise(index, 14 + 3 * (index % 5), 15 + 5 * (index % 3), (3, 3, 1, 1)[index % 4]), image_format
    )


def make_coloured_png(label: int, seed: int, size_px: int = 12) -> bytes:
    """Return a noisy image whose brightest channel is the label's (0 blue, 1 green, 2 red)."""
    pixels = np.random.default_rng(seed).integers(0, 60, (size_px, size_px, 3), dtype=np.uint8)
    pixels[..., 2 - label] += 150
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def make_png(seed: int) -> bytes:
    """Return an image of 4 x 3 pixels, of another colour for each seed."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (seed % 256, seed // 256, 7)).save(buffer, format="PNG")
    return buffer.getvalue()
