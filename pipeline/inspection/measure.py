"""Measure images in worker processes: size and format of all, and of some how bright and varied they are."""

import dataclasses
import io
import warnings
from collections.abc import Callable

import numpy as np

from components.base.limits import DEFAULT_MAX_PIXELS
from components.ingest.canonical import CanonicalImage, canonical_bytes, canonical_pixels, orientation_of
from components.ingest.image_file import read_image_file
from components.ingest.item import shape_from
from components.ingest.kinds import sniff
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
        low, high: Gray levels, 0 to 255, that 1 % of the pixels are below and above; None if not looked at.
        largest: The largest value of an image with 16 bits per channel; None for others, or if not looked at.
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
    largest: int | None = None


def measure(
    tasks: list[Task], max_pixels: int, bit_depth: str, closely: bool, report: Callable[[int], None]
) -> list[Measured]:
    """Return what is measured on each image.

    Args:
        tasks: The images.
        max_pixels: See IngestConfig.
        bit_depth: See IngestConfig.
        closely: Whether to decode them; else only their headers are read.
        report: Called with 0 for each.
    """
    measured = []
    for task in tasks:
        report(0)
        measured.append(_measure_one(task, max_pixels, bit_depth, closely=closely))
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


def store(
    data: bytes, raw: tuple[int, int, int] | None, *, max_pixels: int = DEFAULT_MAX_PIXELS, bit_depth: str
) -> CanonicalImage:
    """Return an image as an ingest would store it.

    Args:
        data: A file, or pixels.
        raw: (height, width, channels) of pixels; None for a file.
        max_pixels: See IngestConfig.
        bit_depth: See IngestConfig.

    Raises:
        RejectedImage: It is no image, or damaged.
    """
    if raw is not None:
        return canonical_pixels(data, *raw)
    return canonical_bytes(data, max_pixels=max_pixels, bit_depth=bit_depth)


def _measure_one(task: Task, max_pixels: int, bit_depth: str, *, closely: bool) -> Measured:
    from PIL import Image

    key, file, offset, size, shape = task
    raw = shape_from(shape)
    if raw is not None and not closely:
        return Measured(key, "pixels", raw[1], raw[0], raw[2])
    if raw is None and not closely and (header := _header(file, offset, size)) is not None:
        return dataclasses.replace(header, key=key)
    try:
        data = read_source(file, offset, size)
        image = store(data, raw, max_pixels=max_pixels, bit_depth=bit_depth)
        kind = "pixels" if raw else sniff(data)
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
    levels = np.sort(np.asarray(small), axis=None)  # np.percentile takes ten times as long
    at = levels.size // 100
    return dataclasses.replace(
        measured, low=float(levels[at]), high=float(levels[-1 - at]), largest=image.largest
    )


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
                # A JPEG with several images is called so by what it is made of, as `sniff` does.
                kind = "JPEG" if image.format == "MPO" else image.format or ""
                return Measured(0, kind, width, height, channels, orientation)
    except Exception:  # noqa: BLE001 - decoders raise nearly anything; looking closely gives the reason
        return None
