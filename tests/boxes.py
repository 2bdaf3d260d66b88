"""Tiny detection data for tests: records and annotation files of pictures of a few pixels."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from components.ingest.example import serialize_example
from schemas import features

CLASSES = ("cat", "dog")
Box = tuple[float, float, float, float, str]


def picture(seed: int = 0, width: int = 40, height: int = 20, image_format: str = "PNG") -> bytes:
    """A noisy picture, another one for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format)
    return buffer.getvalue()


def record(*boxes: Box, seed: int = 0, classes: Sequence[str] = CLASSES, **changes: Any) -> bytes:
    """A serialized example with the boxes (xmin, ymin, xmax, ymax as shares, class); None drops a feature."""
    encoded = picture(seed)
    values: dict[str, Any] = {
        features.ENCODED: encoded,
        features.FORMAT: b"png",
        features.HEIGHT: 20,
        features.WIDTH: 40,
        features.FILENAME: f"{seed}.png".encode(),
        features.SHA256: hashlib.sha256(encoded).hexdigest().encode(),
        **{side: [box[at] for box in boxes] for at, side in enumerate(features.BOX_SIDES)},
        features.BOX_LABEL: [1 + classes.index(box[4]) for box in boxes],
        features.BOX_TEXT: [box[4].encode() for box in boxes],
        **{flag: [0] * len(boxes) for flag in features.BOX_FLAGS},
        **changes,
    }
    return serialize_example({name: value for name, value in values.items() if value is not None})
