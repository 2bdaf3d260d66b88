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
order, is left out. A box that repeats another one of its image (same sides, same class) is dropped. Boxes
that reach far beyond are counted, and whether they would fit if their numbers meant something else.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.ingest.readings import Sides, Size, fitting, reaches_beyond

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
    copies: how many boxes were dropped because they repeat another one: same class, same sides.
    """

    boxes: tuple[Box, ...] = ()
    size: Size | None = None
    in_shares: bool = False
    copies: int = 0

    def __post_init__(self) -> None:
        if self.size is not None and not all(side > 0 and math.isfinite(side) for side in self.size):
            object.__setattr__(self, "size", None)
        first: dict[tuple[object, ...], Box] = {}
        for box in self.boxes:
            # A crowd may lie exactly round an object: both count.
            first.setdefault((box.label, box.sides, box.difficult), box)
        if len(first) < len(self.boxes):
            object.__setattr__(self, "copies", self.copies + len(self.boxes) - len(first))
            object.__setattr__(self, "boxes", tuple(first.values()))

    def to_text(self) -> str:
        """As the index keeps it; equal annotations give equal text."""
        rows = [[box.label, *box.sides, int(box.difficult), int(box.truncated)] for box in self.boxes]
        copies = [self.copies] if self.copies else []
        return json.dumps([rows, self.size, self.in_shares, *copies], ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> Annotation:
        """The inverse of to_text."""
        rows, size, in_shares, *copies = json.loads(text)
        boxes = tuple(
            Box(label, xmin, ymin, xmax, ymax, bool(difficult), bool(truncated))
            for label, xmin, ymin, xmax, ymax, difficult, truncated in rows
        )
        return cls(boxes, tuple(size) if size else None, in_shares, *copies)


class WrongPictureError(Exception):
    """The annotation is of another picture than this one; the message says why."""


@dataclasses.dataclass(frozen=True)
class Placed:
    """The boxes of a stored picture.

    boxes: their sides are shares, 0 .. 1, xmin < xmax and ymin < ymax, also as float32.
    left_out: why, for each box that cannot be used. cut: how many reached beyond the picture.
    scaled: the annotated picture had another size.
    copies: see Annotation.
    beyond: boxes that reach far beyond the picture, those that lie outside among them.
    fits: how many would be on the picture by each of components.ingest.readings.READINGS.
    turn_unknown: EXIF turns the picture, and nothing tells whether that turns its boxes; they were not.
    """

    boxes: list[Box]
    left_out: list[str]
    cut: int
    scaled: bool
    copies: int = 0
    beyond: int = 0
    fits: Mapping[str, int] = dataclasses.field(default_factory=dict)
    turn_unknown: bool = False


def place(annotation: Annotation, upright: Size, orientation: int) -> Placed:
    """Puts the boxes on the picture; see the module's docstring.

    upright: (width, height) of the picture as it is seen. orientation: EXIF's, by which its file is turned.

    Raises WrongPictureError for an annotation of another picture.
    """
    size = annotation.size or upright
    turn = _TURNED.get(orientation)
    stored = upright[::-1] if turn else upright
    turn_unknown = bool(annotation.boxes) and _turn_unknown(annotation.size, upright, orientation)
    # The very size first: a nearly square picture has about the same shape when it is turned.
    if size == upright or (size != stored and _same_shape(size, upright)):
        turn = None
    elif turn is None or not _same_shape(size, stored):
        raise WrongPictureError(
            f"its boxes are of an image of {size[0]:g} x {size[1]:g} pixels, and it has "
            f"{upright[0]:g} x {upright[1]:g}: it is not the image that was annotated"
        )
    across, down = (1.0, 1.0) if annotation.in_shares else size
    placed: list[Box] = []
    left_out: list[str] = []
    cut = beyond = 0
    fits: Counter[str] = Counter()
    for number, box in enumerate(annotation.boxes, start=1):
        name = f"box {number} of {len(annotation.boxes)} ({box.label})"
        if reaches_beyond(box.sides, (across, down), size):
            beyond += 1
        fits.update(fitting(box.sides, (across, down), size))
        problem = _problem(box)
        if problem:
            left_out.append(f"{name}: {problem}")
            continue
        sides = (box.xmin / across, box.ymin / down, box.xmax / across, box.ymax / down)
        if turn is not None:
            sides = _sorted(turn(*sides[:2]), turn(*sides[2:]))
        inside = _inside(sides)
        if not (inside[0] < inside[2] and inside[1] < inside[3]):
            left_out.append(f"{name}: nothing of it is on the image: {_shown(box)}, of {_size(size)}")
            continue
        # Not by a rounding error.
        cut += any(abs(a - b) > 1e-6 for a, b in zip(sides, inside, strict=True))
        xmin, ymin, xmax, ymax = inside
        placed.append(dataclasses.replace(box, xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax))
    own = upright if turn is None else stored
    assert len(placed) + len(left_out) == len(annotation.boxes)
    return Placed(placed, left_out, cut, size != own, annotation.copies, beyond, fits, turn_unknown)


_NAMES = ("xmin", "ymin", "xmax", "ymax")


def _turn_unknown(annotated: Size | None, upright: Size, orientation: int) -> bool:
    """Return whether EXIF turns an image and its annotated size does not tell whether it turns the boxes."""
    if orientation not in _TURNED:
        return orientation in (2, 3, 4)
    stored = upright[::-1]
    if annotated is None or upright == stored:
        return True
    return annotated not in (upright, stored) and (
        _same_shape(annotated, upright) and _same_shape(annotated, stored)
    )


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
    copies, beyond, fits: boxes, as in Placed. turn_unknown: pictures, as in Placed.
    left_out: (path, reason) of every box that cannot be used.
    """

    images: dict[str, int] = dataclasses.field(default_factory=dict)
    boxes: dict[str, int] = dataclasses.field(default_factory=dict)
    most: int = 0
    empty: int = 0
    cut: int = 0
    scaled: int = 0
    copies: int = 0
    beyond: int = 0
    turn_unknown: int = 0
    fits: dict[str, int] = dataclasses.field(default_factory=dict)
    left_out: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    @property
    def listed(self) -> int:
        """All boxes that the annotations of the pictures list."""
        return sum(self.boxes.values()) + len(self.left_out) + self.copies

    @classmethod
    def from_json(cls, read: dict[str, Any]) -> BoxCounts:
        """The inverse of dataclasses.asdict and json."""
        return cls(**{**read, "left_out": [(path, reason) for path, reason in read["left_out"]]})

    @classmethod
    def total(cls, parts: Sequence[BoxCounts]) -> BoxCounts:
        """All of them together."""
        whole = cls()
        for part in parts:
            whole.most = max(whole.most, part.most)
            whole.left_out += part.left_out
            for name in ("empty", "cut", "scaled", "copies", "beyond", "turn_unknown"):
                setattr(whole, name, getattr(whole, name) + getattr(part, name))
            for name in ("images", "boxes", "fits"):
                mine = getattr(whole, name)
                for key, count in getattr(part, name).items():
                    mine[key] = mine.get(key, 0) + count
        for name in ("images", "boxes", "fits"):
            setattr(whole, name, dict(sorted(getattr(whole, name).items())))
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
        self.copies += placed.copies
        self.beyond += placed.beyond
        self.turn_unknown += placed.turn_unknown
        for reading, count in placed.fits.items():
            self.fits[reading] = self.fits.get(reading, 0) + count
        self.left_out += [(path, reason) for reason in placed.left_out]
