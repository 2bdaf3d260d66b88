"""Boxes on the stored image: what becomes of an annotation's boxes in its record.

An annotation gives pixels of the image that was annotated. In a record boxes are shares of the stored
image's width and height, 0 .. 1 from the upper left, float32. Where the sizes of the two differ:

    the annotation gives no size, or 0          the pixels are those of the image as it is seen (upright)
    it gives the size of the image upright      the same
    it gives the size of a turned image's       the boxes are turned with it
    file, before EXIF turns it
    it gives another size of the same shape     the image was scaled since: so are the boxes
    it gives another shape                      the image is rejected: it is not the one that was annotated

A box beyond the image's edge is cut there; one of which nothing is left, or whose sides are in the wrong
order, is left out. A box that repeats another one of its image (same sides, same class) is dropped. Boxes
that reach far beyond are counted, and whether they would fit if their numbers meant something else.
"""

from __future__ import annotations

import dataclasses
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from components.ingest.readings import Sides, Size, fitting, reaches_beyond
from components.ingest.truth.counts import BoxCounts
from components.ingest.truth.truth import WrongImageError
from schemas import features

if TYPE_CHECKING:
    from components.base.example import FeatureValue

# How shares of the file's image become those of the upright one, by EXIF orientation. The others (2 to 4)
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

    Attributes:
        label: Its class.
        xmin, ymin, xmax, ymax: Pixels from the upper left, or shares (see Boxes).
        difficult: Whether the evaluation passes over it.
        truncated: Whether part of it is not on the image.
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
class PlacedBoxes:
    """The boxes of a stored image.

    Attributes:
        boxes: Their sides are shares, 0 .. 1, xmin < xmax and ymin < ymax, also as float32.
        left_out: Why, for each box that cannot be used.
        cut: Boxes that reached beyond the image.
        scaled: Whether the annotated image had another size.
        beyond: Boxes that reach far beyond the image, those that are outside of it among them.
        fits: Boxes that would be on the image by each of `components.ingest.readings.READINGS`.
        turn_unknown: Whether EXIF turns the image, and nothing says whether that turns its boxes; they were
            not turned.
        copies: Boxes that were dropped because they repeat another one.
    """

    boxes: list[Box]
    left_out: list[str]
    cut: int
    scaled: bool
    beyond: int = 0
    fits: Mapping[str, int] = dataclasses.field(default_factory=dict)
    turn_unknown: bool = False
    copies: int = 0

    def record_features(self, labels: Mapping[str, int]) -> dict[str, FeatureValue]:
        """Return the features of a record, lists with one value for each box."""
        by_side = zip(*(box.sides for box in self.boxes), strict=True) if self.boxes else [()] * 4
        return {
            **dict(zip(features.BOX_SIDES, by_side, strict=True)),
            features.BOX_LABEL: [labels[box.label] for box in self.boxes],
            features.BOX_TEXT: [box.label.encode() for box in self.boxes],
            features.BOX_DIFFICULT: [int(box.difficult) for box in self.boxes],
            features.BOX_TRUNCATED: [int(box.truncated) for box in self.boxes],
        }

    def count(self, path: str, counts: BoxCounts) -> None:
        """Add the boxes of an image to the counts."""
        by_class = Counter(box.label for box in self.boxes)
        counts.add(
            BoxCounts(
                images=dict.fromkeys(by_class, 1),
                boxes=dict(by_class),
                most=len(self.boxes),
                empty=not self.boxes,
                cut=self.cut,
                scaled=self.scaled,
                difficult=sum(box.difficult for box in self.boxes),
                copies=self.copies,
                beyond=self.beyond,
                turn_unknown=self.turn_unknown,
                fits=dict(self.fits),
                left_out=[(path, reason) for reason in self.left_out],
            )
        )


def place_boxes(
    boxes: Sequence[Box], annotated: Size | None, upright: Size, orientation: int, *, in_shares: bool
) -> PlacedBoxes:
    """Return the boxes on the stored image; see the module's docstring.

    Args:
        boxes: All boxes of the image.
        annotated: (width, height) of the annotated image in pixels; None where it is not given.
        upright: (width, height) in pixels of the image as it is seen.
        orientation: EXIF's, by which its file is turned.
        in_shares: Whether the boxes' numbers are shares of the annotated image; else they are its pixels.

    Raises:
        WrongImageError: The boxes are of another image.
    """
    size = annotated or upright
    turn = _TURNED.get(orientation)
    stored = upright[::-1] if turn else upright
    turn_unknown = bool(boxes) and _turn_unknown(annotated, upright, orientation)
    # The very size first: a nearly square image has about the same shape when it is turned.
    if size == upright or (size != stored and _same_shape(size, upright)):
        turn = None
    elif turn is None or not _same_shape(size, stored):
        raise WrongImageError(
            f"its boxes are of an image of {size[0]:g} x {size[1]:g} pixels, and it has "
            f"{upright[0]:g} x {upright[1]:g}: it is not the image that was annotated"
        )
    across, down = (1.0, 1.0) if in_shares else size
    placed: list[Box] = []
    left_out: list[str] = []
    cut = beyond = 0
    fits: Counter[str] = Counter()
    for number, box in enumerate(boxes, start=1):
        name = f"box {number} of {len(boxes)} ({box.label})"
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
            left_out.append(
                f"{name}: nothing of it is on the image: {_format_box(box)}, of {_format_size(size)}"
            )
            continue
        # Not by a rounding error.
        cut += any(abs(a - b) > 1e-6 for a, b in zip(sides, inside, strict=True))
        xmin, ymin, xmax, ymax = inside
        placed.append(dataclasses.replace(box, xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax))
    own = upright if turn is None else stored
    assert len(placed) + len(left_out) == len(boxes)
    return PlacedBoxes(placed, left_out, cut, size != own, beyond, fits, turn_unknown)


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
    """Return whether one is the other scaled, its sides rounded up or down to whole pixels."""
    bounds = [((a - 1) / b, (a + 1) / b) for a, b in zip(one, other, strict=True)]
    return max(low for low, _ in bounds) < min(high for _, high in bounds)


def _sorted(one: tuple[float, float], other: tuple[float, float]) -> Sides:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[0], other[0]), max(one[1], other[1])


def _inside(sides: Sides) -> Sides:
    """Return the sides cut at 0 and 1, and rounded to float32."""
    rounded: Sides = struct.unpack("<4f", struct.pack("<4f", *(min(1.0, max(0.0, side)) for side in sides)))
    return rounded


def _format_box(box: Box) -> str:
    return ", ".join(f"{name} {side:g}" for name, side in zip(_NAMES, box.sides, strict=True))


def _format_size(size: Size) -> str:
    return f"{size[0]:g} x {size[1]:g} pixels"
