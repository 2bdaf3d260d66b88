"""Boxes round shapes that are not upright boxes: polygons, rotated boxes, ellipses.

Tools for annotations draw more than boxes. An object is the box round its shape; how many objects are read
that way is a warning, since a box round a slanted shape holds more than the object.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from components.base.words import format_count
from components.ingest.index import Index
from components.ingest.readings import Sides
from components.ingest.values import brief, number, number_of

POLYGON, ROTATED, ELLIPSE, CIRCLE, MASK = "polygon", "rotated box", "ellipse", "circle", "mask"
_PLURALS = {ROTATED: "rotated boxes"}


class ShapeCounts:
    """The objects of a source that are another shape than an upright box."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def note(self, kind: str) -> None:
        """Count an object of this kind: POLYGON, ROTATED, ELLIPSE, CIRCLE or MASK."""
        self._counts[kind] += 1

    def warn(self, index: Index) -> None:
        """Say how many there are of each kind; nothing if there are none."""
        if self._counts:
            kinds = [
                format_count(count, kind, _PLURALS.get(kind)) for kind, count in sorted(self._counts.items())
            ]
            objects = format_count(self._counts.total(), "object is", "objects are")
            index.warn(f"{objects} not an upright box ({', '.join(kinds)}): the box round each was read.")


def enclose(points: Iterable[tuple[float, float]]) -> Sides:
    """Return (xmin, ymin, xmax, ymax) of the box round at least one point, each (x, y)."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def read_points(value: Any, least: int = 3) -> list[tuple[float, float]]:
    """Return the points of a shape in JSON, [[x, y], ...].

    Raises:
        ValueError: There are fewer, or one is not two numbers.
    """
    if not isinstance(value, list) or len(value) < least:
        raise ValueError(f"points: expected {least} or more, got {brief(value)}")
    points = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"points: expected [x, y], got {brief(pair)}")
        points.append((number_of("points", pair[0]), number_of("points", pair[1])))
    return points


def is_upright(points: Sequence[tuple[float, float]]) -> bool:
    """Return whether points are the four corners of an upright box, as some tools write every box."""
    xmin, ymin, xmax, ymax = enclose(points)
    return len(points) == 4 and set(points) == {(x, y) for x in (xmin, xmax) for y in (ymin, ymax)}


def enclose_rotated(sides: Sides, degrees: float) -> Sides:
    """Return the box round a box that is rotated about its centre."""
    xmin, ymin, xmax, ymax = sides
    if not degrees % 180:
        return sides
    cos, sin = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    width, height = xmax - xmin, ymax - ymin
    return _around(
        ((xmin + xmax) / 2, (ymin + ymax) / 2),
        (width * cos + height * sin) / 2,
        (width * sin + height * cos) / 2,
    )


def rotation_of(value: object) -> float:
    """Return the degrees that an attribute `rotation` says, 0 without one, or with what is no number."""
    try:
        return number(value) % 360
    except ValueError:
        return 0.0


def enclose_ellipse(centre: tuple[float, float], radii: tuple[float, float], degrees: float = 0.0) -> Sides:
    """Return the box round an ellipse that is rotated about its centre."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    across, down = radii
    return _around(centre, math.hypot(across * cos, down * sin), math.hypot(across * sin, down * cos))


def rotate(point: tuple[float, float], about: tuple[float, float], degrees: float) -> tuple[float, float]:
    """Return a point that is rotated clockwise on the image, where y points down."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = point[0] - about[0], point[1] - about[1]
    return about[0] + x * cos - y * sin, about[1] + x * sin + y * cos


def _around(centre: tuple[float, float], across: float, down: float) -> Sides:
    return centre[0] - across, centre[1] - down, centre[0] + across, centre[1] + down
