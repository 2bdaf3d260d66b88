"""Folders of images and IDX files, as users have them."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

from tests.make.images import make_png


def write_images(root: Path, *paths: str) -> Path:
    """Write another image to each of these paths, and return the root."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(make_png(sum(ord(letter) * (at + 1) for at, letter in enumerate(path))))
    return root


def encode_idx(*dimensions: int, data: bytes) -> bytes:
    """Return a file of the MNIST family: a header with the dimensions, and bytes."""
    return struct.pack(f">{1 + len(dimensions)}I", 0x800 + len(dimensions), *dimensions) + data


def write_mnist(root: Path, prefix: str = "", images: int = 3, pack: bool = True) -> Path:
    """Write the four files of the MNIST family, images of 2 x 2 pixels; `pack` for gzip."""
    root.mkdir(parents=True, exist_ok=True)
    write, end = (gzip.compress, ".gz") if pack else (bytes, "")
    for part in ("train", "t10k"):
        pixels = bytes(range(images * 4))
        (root / f"{prefix}{part}-images-idx3-ubyte{end}").write_bytes(
            write(encode_idx(images, 2, 2, data=pixels))
        )
        labels = bytes([10, 2, 2][:images])
        (root / f"{prefix}{part}-labels-idx1-ubyte{end}").write_bytes(write(encode_idx(images, data=labels)))
    return root


def write_photos(here: Path, classes: tuple[str, ...] = ("cats", "dogs"), images: int = 30) -> Path:
    """Write class folders of images to `photos`, and return that."""
    return write_images(
        here / "photos", *(f"{name}/{number}.png" for name in classes for number in range(images))
    )
