"""Boxes of a picture: as an annotation gives them, and what becomes of them in its record.

An annotation gives pixels of the picture that was annotated. In a record boxes are shares of the stored
picture's width and height, 0 .. 1 from the upper left, float32. Where the sizes of the two differ:

    the annotation gives no size, or 0          the pixels are those of the picture as it is seen (upright)
    it gives the size of the picture upright    the same
    it gives the size of a turned picture's     the boxes are turned with it
    file, before EXIF turns it
    it gives another size of the same shape     the picture was scaled since: so are the boxes
    it gives another shape                      the picture is rejected: it is not the one that was annotated

A box beyond the picture's edge is cut there; one of which nothing is left, or whose sides are in the wrong
order, is left out.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

Sides = tuple[float, float, float, float]
Size = tuple[float, float]

# How shares of the file's picture become those of the upright one, by EXIF orientation. The others (2 to 4)
# do not change the size, so nothing tells that the boxes are those of the file.
_TURNED: dict[int, Callable[[float, float], tuple[float, float]]] = {
    5: lambda x, y: (y, x),
    6: lambda x, y: (1 - y, x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (y, 1 - x),
}


@dataclasses.dataclass(frozen=True)
class Box:
    """One box.

    label: its class. xmin, ymin, xmax, ymax: pixels from the upper left, or shares (see Annotation).
    difficult: not counted by the evaluation. truncated: part of it is not on the picture.
    """

    label: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    difficult: bool = False
    truncated: bool = False

    @property
    def sides(self) -> Sides:
        """(xmin, ymin, xmax, ymax)."""
        return self.xmin, self.ymin, self.xmax, self.ymax


@dataclasses.dataclass(frozen=True)
class Annotation:
    """What is known of a picture: all its boxes, none where nothing is to be found on it.

    size: (width, height) of the annotated picture in pixels, None where it is not told.
    in_shares: the boxes' numbers are shares of that picture, else its pixels.
    """

    boxes: tuple[Box, ...] = ()
    size: Size | None = None
    in_shares: bool = False

    def __post_init__(self) -> None:
        if self.size is not None and not all(side > 0 and math.isfinite(side) for side in self.size):
            object.__setattr__(self, "size", None)

    def to_text(self) -> str:
        """As the index keeps it; equal annotations give equal text."""
        rows = [[box.label, *box.sides, int(box.difficult), int(box.truncated)] for box in self.boxes]
        return json.dumps([rows, self.size, self.in_shares], ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> Annotation:
        """The inverse of to_text."""
        rows, size, in_shares = json.loads(text)
        boxes = tuple(
            Box(label, xmin, ymin, xmax, ymax, bool(difficult), bool(truncated))
            for label, xmin, ymin, xmax, ymax, difficult, truncated in rows
        )
        return cls(boxes, tuple(size) if size else None, in_shares)


class WrongPictureError(Exception):
    """The annotation is of another picture than this one; the message says why."""


@dataclasses.dataclass(frozen=True)
class Placed:
    """The boxes of a stored picture.

    boxes: their sides are shares, 0 .. 1, xmin < xmax and ymin < ymax, also as float32.
    left_out: why, for each box that cannot be used. cut: how many reached beyond the picture.
    scaled: the annotated picture had another size.
    """

    boxes: list[Box]
    left_out: list[str]
    cut: int
    scaled: bool


def place(annotation: Annotation, upright: Size, orientation: int) -> Placed:
    """Puts the boxes on the picture; see the module's docstring.

    upright: (width, height) of the picture as it is seen. orientation: EXIF's, by which its file is turned.

    Raises WrongPictureError for an annotation of another picture.
    """
    size = annotation.size or upright
    turn = _TURNED.get(orientation)
    stored = upright[::-1] if turn else upright
    # The very size first: a nearly square picture has about the same shape when it is turned.
    if size == upright or (size != stored and _same_shape(size, upright)):
        turn = None
    elif turn is None or not _same_shape(size, stored):
        raise WrongPictureError(
            f"its boxes are of a picture of {size[0]:g} x {size[1]:g} pixels, and it has "
            f"{upright[0]:g} x {upright[1]:g}: it is not the picture that was annotated"
        )
    across, down = (1.0, 1.0) if annotation.in_shares else size
    placed: list[Box] = []
    left_out: list[str] = []
    cut = 0
    for number, box in enumerate(annotation.boxes, start=1):
        name = f"box {number} of {len(annotation.boxes)} ({box.label})"
        problem = _problem(box)
        if problem:
            left_out.append(f"{name}: {problem}")
            continue
        sides = (box.xmin / across, box.ymin / down, box.xmax / across, box.ymax / down)
        if turn is not None:
            sides = _sorted(turn(*sides[:2]), turn(*sides[2:]))
        inside = _inside(sides)
        if not (inside[0] < inside[2] and inside[1] < inside[3]):
            left_out.append(f"{name}: nothing of it is on the picture: {_shown(box)}, of {_size(size)}")
            continue
        # Not by a rounding error.
        cut += any(abs(a - b) > 1e-6 for a, b in zip(sides, inside, strict=True))
        xmin, ymin, xmax, ymax = inside
        placed.append(dataclasses.replace(box, xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax))
    own = upright if turn is None else stored
    return Placed(placed, left_out, cut, size != own)


_NAMES = ("xmin", "ymin", "xmax", "ymax")


def _problem(box: Box) -> str:
    for low, high, what in ((box.xmin, box.xmax, "x"), (box.ymin, box.ymax, "y")):
        if low == high:
            return f"empty: {what}min and {what}max are both {low:g}"
        if low > high:
            return f"in the wrong order: {what}min {low:g} is above {what}max {high:g}"
    return ""


def _same_shape(one: Size, other: Size) -> bool:
    """Whether one is the other scaled, its sides rounded up or down to whole pixels."""
    bounds = [((a - 1) / b, (a + 1) / b) for a, b in zip(one, other, strict=True)]
    return max(low for low, _ in bounds) < min(high for _, high in bounds)


def _sorted(one: tuple[float, float], other: tuple[float, float]) -> Sides:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[0], other[0]), max(one[1], other[1])


def _inside(sides: Sides) -> Sides:
    """Cut at 0 and 1, rounded to float32."""
    rounded: Sides = struct.unpack("<4f", struct.pack("<4f", *(min(1.0, max(0.0, side)) for side in sides)))
    return rounded


def _shown(box: Box) -> str:
    return ", ".join(f"{name} {side:g}" for name, side in zip(_NAMES, box.sides, strict=True))


def _size(size: Size) -> str:
    return f"{size[0]:g} x {size[1]:g} pixels"


@dataclasses.dataclass
class BoxCounts:
    """What was counted while records with boxes were written.

    images: pictures that show a class, by class. boxes: boxes by class; both without classes that have none.
    most: the largest number of boxes of one picture. empty: pictures without a box.
    cut: boxes that reached beyond their picture. scaled: pictures of another size than was annotated.
    left_out: (path, reason) of every box that cannot be used.
    """

    images: dict[str, int] = dataclasses.field(default_factory=dict)
    boxes: dict[str, int] = dataclasses.field(default_factory=dict)
    most: int = 0
    empty: int = 0
    cut: int = 0
    scaled: int = 0
    left_out: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    @classmethod
    def from_json(cls, read: dict[str, Any]) -> BoxCounts:
        """The inverse of dataclasses.asdict and json."""
        return cls(**{**read, "left_out": [(path, reason) for path, reason in read["left_out"]]})

    @classmethod
    def total(cls, parts: Sequence[BoxCounts]) -> BoxCounts:
        """All of them together."""
        whole = cls()
        for part in parts:
            for mine, theirs in ((whole.images, part.images), (whole.boxes, part.boxes)):
                for label, count in theirs.items():
                    mine[label] = mine.get(label, 0) + count
            whole.most = max(whole.most, part.most)
            whole.empty += part.empty
            whole.cut += part.cut
            whole.scaled += part.scaled
            whole.left_out += part.left_out
        whole.images, whole.boxes = (dict(sorted(counts.items())) for counts in (whole.images, whole.boxes))
        return whole

    def add(self, path: str, placed: Placed) -> None:
        """Counts one picture."""
        labels = [box.label for box in placed.boxes]
        for label in labels:
            self.boxes[label] = self.boxes.get(label, 0) + 1
        for label in set(labels):
            self.images[label] = self.images.get(label, 0) + 1
        self.most = max(self.most, len(labels))
        self.empty += not labels
        self.cut += placed.cut
        self.scaled += placed.scaled
        self.left_out += [(path, reason) for reason in placed.left_out]
