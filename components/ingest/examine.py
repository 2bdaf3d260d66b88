"""The first work of worker processes: read, hash and check images, and compare those that look alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from components.ingest.bit_depth import AUTO, UPPER
from components.ingest.item import shape_from
from components.ingest.reading import NOT_THE_FILES, hash_source, read_source

if TYPE_CHECKING:
    from PIL import Image as PillowImage

    from components.ingest.canonical import CanonicalImage

# How two images are alike, as copies.csv has it.
PIXELS, LOOK, MIRRORED = "pixels", "look", "mirrored"

# More than any value of 16 bits: stands for those of several channels, of which the upper 8 alone are known.
IN_COLOUR = 1 << 16

# Where the bytes are, as the index has it: file, offset, size in bytes, shape.
Place = tuple[bytes, "int | None", int, "str | None"]
# With the image's id.
ExamineTask = tuple[int, Place]
# Number, both images, whether one of them seems to be mirrored.
CompareTask = tuple[int, Place, Place, bool]


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options that decide whether an image can be used, and what is noted of it.

    Attributes:
        max_pixels, resize_px, bit_depth, near_copies: See IngestConfig.
    """

    max_pixels: int
    resize_px: int | None
    bit_depth: str
    near_copies: bool

    @property
    def rule(self) -> str:
        """The rule of components.ingest.bit_depth; `auto` is not known yet."""
        return UPPER if self.bit_depth == AUTO else self.bit_depth


class Examined(NamedTuple):
    """An image that was read.

    Attributes:
        key: Its id.
        sha256: See `hash_source`; None if the image cannot be used.
        form: See `kept_form`.
        look: See components.ingest.looks; None if looks are not wanted.
        largest: The largest value of an image with 16 bits per channel, or IN_COLOUR; None for any other.
        rule: By which such an image was looked at.
        reason: Why it cannot be used.
    """

    key: int
    sha256: bytes | None
    form: str | None = None
    look: bytes | None = None
    largest: int | None = None
    rule: str | None = None
    reason: str = ""


def examine(tasks: list[ExamineTask], settings: Settings, report: Callable[[int], None]) -> list[Examined]:
    """Read, hash and decode images."""
    from components.ingest.looks import DECODED_PX, make_look
    from components.ingest.whole import RejectedImage

    answers = []
    for key, place in tasks:
        report(0)
        try:
            data = _read(place)
            image = _decode(data, place, settings, DECODED_PX if settings.near_copies else 1)
        except OSError as error:
            if error.errno in NOT_THE_FILES:
                raise
            answers.append(Examined(key, None, reason=f"cannot be read: {error.strerror}"))
        except RejectedImage as error:
            answers.append(Examined(key, None, reason=error.reason))
        else:
            look = make_look(image.preview) if settings.near_copies and image.preview is not None else None
            form = kept_form(image, settings.resize_px)
            largest = IN_COLOUR if image.only_upper else image.largest
            rule = None if largest is None else settings.rule
            answers.append(Examined(key, hash_source(data, place[3]), form, look, largest, rule))
    return answers


def compare(
    tasks: list[CompareTask], settings: Settings, report: Callable[[int], None]
) -> list[tuple[int, str | None]]:
    """Return (number, how they are alike) of pairs of images; None where they are not."""
    from components.ingest.looks import DETAIL_PX, is_alike
    from components.ingest.whole import RejectedImage

    images: dict[Place, CanonicalImage | None] = {}
    answers: list[tuple[int, str | None]] = []
    for number, one, other, mirrored in tasks:
        report(0)
        for place in (one, other):
            if place not in images:
                try:
                    images[place] = _decode(_read(place), place, settings, DETAIL_PX)
                except (OSError, RejectedImage):
                    images[place] = None  # it has changed; the next pass says so
        first, second, how = images[one], images[other], None
        if first is not None and second is not None and is_alike(first, second, mirrored=mirrored):
            how = MIRRORED if mirrored else PIXELS if _is_equal(first, second) else LOOK
        answers.append((number, how))
    return answers


def kept_form(image: CanonicalImage, resize_px: int | None) -> str | None:
    """Return format, height, width and channels of an image that keeps its bytes; None for any other."""
    if not image.encoded or (resize_px is not None and max(image.full_size) > resize_px):
        return None
    return f"{image.format} {image.height} {image.width} {image.channels}"


def kept_image(data: bytes, form: str) -> CanonicalImage:
    """Return the image that has this `kept_form`; nothing is decoded."""
    from components.ingest.canonical import CanonicalImage

    image_format, *numbers = form.split()
    height, width, channels = map(int, numbers)
    return CanonicalImage(data, image_format, height, width, channels, (width, height))


def _read(place: Place) -> bytes:
    from components.ingest.image_file import read_image_file
    from components.ingest.kinds import sniff

    file, offset, size_bytes, shape = place
    if offset is None and shape is None:
        return read_image_file(file)
    data = read_source(file, offset, size_bytes)
    if shape is None:
        sniff(data)
    return data


def _decode(data: bytes, place: Place, settings: Settings, preview_px: int) -> CanonicalImage:
    from PIL import Image

    from components.ingest.canonical import CanonicalImage, canonical_bytes
    from components.ingest.preview import Preview

    if (shape := shape_from(place[3])) is None:
        return canonical_bytes(
            data,
            max_pixels=settings.max_pixels,
            resize_px=settings.resize_px,
            bit_depth=settings.rule,
            preview_px=preview_px,
        )
    height, width, channels = shape
    image = Image.frombytes("L" if channels == 1 else "RGB", (width, height), data)
    return CanonicalImage(b"", "png", height, width, channels, image.size, preview=Preview(image))


def _is_equal(one: CanonicalImage, other: CanonicalImage) -> bool:
    """Return whether two images have equal pixels."""
    if one.full_size != other.full_size:
        return False
    return _all_pixels(one).tobytes() == _all_pixels(other).tobytes()


def _all_pixels(image: CanonicalImage) -> PillowImage.Image:
    import io

    from PIL import Image

    if image.preview is not None and image.preview.box is None:
        return image.preview.image.convert("RGB")
    return Image.open(io.BytesIO(image.encoded)).convert("RGB")
