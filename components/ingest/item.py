"""An input of an ingest, as a source finds it: an image, a reject, or something left out."""

import dataclasses

from components.ingest.truth import Truth


@dataclasses.dataclass(frozen=True)
class Item:
    """One input image.

    Attributes:
        path: `image/filename` of its record.
        file: Absolute path, as the file system has it.
        size_bytes: Bytes of the image.
        truth: What is known of it. All items of a source have one kind.
        split: The split that the data bring, or None.
        stamp: As in `components.ingest.files.FileEntry`.
        offset: Where in the file its bytes begin; None if the file is the encoded image.
        shape: (height, width, channels) of raw uint8 pixels; None for an encoded image.
        group: What the data say that it belongs to (a patient, a video); images of one group get one split.
            None for an image that belongs to nothing.
    """

    path: str
    file: bytes
    size_bytes: int
    truth: Truth
    split: str | None = None
    stamp: int = 0
    offset: int | None = None
    shape: tuple[int, int, int] | None = None
    group: str | None = None


@dataclasses.dataclass(frozen=True)
class Reject:
    """An input that cannot be used.

    Attributes:
        path: The input.
        reason: Why.
    """

    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """An input that is not an image and not meant to be one; it is not rejected.

    Attributes:
        path: The input.
        reason: How that is seen.
    """

    path: str
    reason: str


Found = Item | Reject | LeftOut


def shape_text(shape: tuple[int, int, int] | None) -> str | None:
    """Return a shape as the index keeps it."""
    return None if shape is None else ",".join(map(str, shape))


def shape_from(text: str | None) -> tuple[int, int, int] | None:
    """Return the inverse of `shape_text`."""
    if text is None:
        return None
    height, width, channels = map(int, text.split(","))
    return height, width, channels
