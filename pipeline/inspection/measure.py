"""Measure images in worker processes: size and format of all, and of some how bright and varied they are."""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from components.ingest.canonical import canonical_bytes, canonical_pixels, orientation_of
from components.ingest.image_file import read_image_file
from components.ingest.item import shape_from
from components.ingest.whole import RejectedImage

_LOOK_PX = 32
# id, file, offset, size in bytes, shape: see components.ingest.item.Item.
Task = tuple[int, bytes, "int | None", int, "str | None"]


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """An image as it would be stored.

    Attributes:
        key: The item's id.
        format: The file's format by Pillow's name, or "pixels".
        width, height: In pixels, upright; 0 if they are not known.
        channels: 1 or 3; 0 if not known.
        orientation: EXIF's, by which the file is turned.
        problem: Why it cannot be used; "" if it can, or was not looked at closely.
        low, high: Gray levels, 0 to 255, that 5 % of the pixels are below and above; None if not looked at.
    """

    key: int
    format: str = ""
    width: int = 0
    height: int = 0
    channels: int = 0
    orientation: int = 1
    problem: str = ""
    low: float | None = None
    high: float | None = None


def measure(
    tasks: list[Task], max_pixels: int, closely: bool, report: Callable[[int], None]
) -> list[Measured]:
    """Return what is measured on each image.

    Args:
        tasks: The images.
        max_pixels: See IngestConfig.
        closely: Whether to decode them; else only their headers are read.
        report: Called with 0 for each.
    """
    measured = []
    for task in tasks:
        report(0)
        measured.append(_measure_one(task, max_pixels, closely=closely))
    return measured


def read_source(file: bytes, offset: int | None, size: int) -> bytes:
    """Return the bytes of an item.

    Raises:
        OSError: They cannot be read.
        RejectedImage: They are those of no image.
    """
    if offset is None:
        return read_image_file(file)
    with open(file, "rb") as opened:
        opened.seek(offset)
        return opened.read(size)


def _measure_one(task: Task, max_pixels: int, *, closely: bool) -> Measured:
    from PIL import Image

    key, file, offset, size, shape = task
    raw = shape_from(shape)
    if raw is not None and not closely:
        return Measured(key, "pixels", raw[1], raw[0], raw[2])
    header = _header(file, offset, size) if raw is None else None
    if header is not None and not closely:
        return dataclasses.replace(header, key=key)
    try:
        data = read_source(file, offset, size)
        image = canonical_pixels(data, *raw) if raw else canonical_bytes(data, max_pixels=max_pixels)
        kind = header.format if header else "pixels" if raw else image.format.upper()
    except RejectedImage as error:
        return Measured(key, problem=error.reason)
    except OSError as error:
        return Measured(key, problem=f"cannot be read: {error.strerror or error}")
    measured = Measured(key, kind, image.width, image.height, image.channels, image.orientation)
    if not closely:
        return measured
    with Image.open(io.BytesIO(image.encoded)) as opened:
        opened.draft("L", (2 * _LOOK_PX, 2 * _LOOK_PX))
        small = opened.convert("L").resize((_LOOK_PX, _LOOK_PX), Image.Resampling.BOX)
    low, high = np.percentile(np.asarray(small), (5, 95))
    return dataclasses.replace(measured, low=float(low), high=float(high))


def _header(file: bytes, offset: int | None, size: int) -> Measured | None:
    """Return what the header of an encoded image says; None if Pillow by itself does not read it."""
    from PIL import Image

    try:
        with warnings.catch_warnings(), open(file, "rb") as opened:
            warnings.simplefilter("ignore")
            if offset is not None:
                opened.seek(offset)
            content = opened if offset is None else io.BytesIO(opened.read(size))
            with Image.open(content) as image:
                if image.format == "TIFF":  # says only once it is decoded which way it is turned
                    return None
                orientation = orientation_of(image)
                width, height = image.size if orientation < 5 else image.size[::-1]
                is_gray = image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")
                channels = 1 if is_gray else 3
                return Measured(0, image.format or "", width, height, channels, orientation)
    except Exception:  # noqa: BLE001 - decoders raise nearly anything; looking closely gives the reason
        return None


def canonical_file(
    file: bytes, offset: int | None, size: int, shape: tuple[int, int, int] | None, folder: Path, number: int
) -> str:
    """Write an image as an ingest would store it, and return its path; an empty file for a damaged image."""
    path = folder / f"{number}.png"
    try:
        data = read_source(file, offset, size)
        image = canonical_pixels(data, *shape) if shape else canonical_bytes(data)
        path.write_bytes(image.encoded)
    except RejectedImage:
        path.write_bytes(b"")
    return str(path)
