"""An image with its boxes, and what writes it in a format."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

# A thousandth of a pixel is more than annotations have; float32 shares of large images have less.
_DECIMALS = 3


@dataclasses.dataclass(frozen=True)
class Annotation:
    """A box on an image.

    Attributes:
        label: The class.
        xmin, ymin, xmax, ymax: Pixels of the upright image, from 0.
        difficult, truncated: As in a record.
        score: Of a prediction; None for a label.
    """

    label: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    difficult: bool = False
    truncated: bool = False
    score: float | None = None

    @property
    def sides(self) -> tuple[str, str, str, str]:
        """The corners as text, without digits that say nothing."""
        xmin, ymin, xmax, ymax = (
            f"{side:.{_DECIMALS}f}".rstrip("0").rstrip(".")
            for side in (self.xmin, self.ymin, self.xmax, self.ymax)
        )
        return xmin, ymin, xmax, ymax


@dataclasses.dataclass(frozen=True)
class AnnotatedImage:
    """An image file, as it is in the output.

    Attributes:
        split: train, eval or test; empty where there are no splits.
        path: Its place in the folder of its split, with "/" between folders.
        width, height: Pixels, upright.
        boxes: On it.
    """

    split: str
    path: str
    width: int
    height: int
    boxes: Sequence[Annotation]

    @property
    def place(self) -> str:
        """Its place in the output."""
        return f"{self.split}/{self.path}" if self.split else self.path


def find_free_stem(split: str, name: str, taken: set[tuple[str, str]]) -> str:
    """Return a path without suffix that is free in its split's folder; nothing leads out of that folder."""
    *folders, file = [part for part in name.split("/") if part not in ("", ".", "..")] or ["image"]
    if folders[:1] == [split]:
        folders = folders[1:]
    base = "/".join([*folders, file.rpartition(".")[0] or file])
    stem, number = base, 1
    while (split, stem) in taken:
        number += 1
        stem = f"{base}-{number}"
    taken.add((split, stem))
    return stem


class AnnotationWriter(Protocol):
    """Writes images in a format, one after the other.

    Args:
        folder: The output, which has the image files.
        class_names: All classes, in the order of their labels.
    """

    def __init__(self, folder: Path, class_names: Sequence[str]): ...

    def add(self, image: AnnotatedImage) -> None:
        """Write the boxes of an image, or keep them for `close`."""

    def close(self) -> None:
        """Write what is left."""
