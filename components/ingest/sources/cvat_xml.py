"""Images and shapes of an XML file of CVAT, one image after the other.

    <annotations><meta><task><labels><label><name>cat</name></label></labels></task></meta>
      <image id="0" name="cats/1.jpg" subset="Train" width="40" height="20">
        <box label="cat" xtl="10.0" ytl="5.0" xbr="20.0" ybr="15.0" rotation="30.0"/>
        <polygon label="cat" points="10.0,5.0;20.0,5.0;20.0,15.0"/></image></annotations>

https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/

Boxes and ellipses are rotated about their centres. XML files come from anywhere: one with a document type,
entities or references to other files is refused before any of it is followed, and memory does not grow with
the file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from components.base.errors import UsageError
from components.ingest.files import label_of
from components.ingest.readings import Sides, Size
from components.ingest.sources import shapes
from components.ingest.sources.shapes import ShapeCounts
from components.ingest.truth.placing import Box
from components.ingest.values import brief, number, number_of

# A polygon takes some kilobytes, a mask some hundred.
_MOST_BYTES = 16 << 20
_DEEPEST = 32
_TRACK, _IMAGE, _TAG = "track", "image", "tag"
_SHAPES = ("box", "polygon", "ellipse", "mask", "polyline", "points", "cuboid", "skeleton")


class CvatError(Exception):
    """A damaged file, and where."""


@dataclasses.dataclass(frozen=True)
class CvatImage:
    """An image of the file.

    Attributes:
        number: Its id, for messages.
        name: Of its file.
        subset: A name of CVAT for a part of the data; "" without one.
        size: (width, height) in pixels; None where it is not given.
        boxes: Its objects.
        problem: Why it cannot be used; "" if it can.
    """

    number: str
    name: str
    subset: str
    size: Size | None
    boxes: tuple[Box, ...]
    problem: str


class CvatReader:
    """A file, read once.

    Args:
        file: The file.
        counts: Counts the objects that are not upright boxes.

    Attributes:
        labels: The labels that the file lists, in its order; whole once all images are read.
        tags: How many labels of whole images there are, which are not read.
    """

    def __init__(self, file: Path, counts: ShapeCounts) -> None:
        self._file, self._counts = file, counts
        self.labels: dict[str, None] = {}
        self.tags = 0

    def images(self) -> Iterator[CvatImage]:
        """Yield the images.

        Raises:
            CvatError: The file is damaged.
            UsageError: It is another kind of file, or has the tracks of a video.
        """
        from defusedxml import DefusedXmlException

        try:
            with self._file.open("rb") as opened:
                yield from self._read(_Limited(opened))
        except OSError as error:
            raise CvatError(f"cannot be read: {error.strerror}") from error
        except DefusedXmlException as error:
            raise CvatError("it has a document type or entities, which no export of CVAT needs") from error
        except (SyntaxError, ValueError, LookupError, RecursionError) as error:
            # SyntaxError is what the parser's own error is; the others are of encodings that do not exist.
            raise CvatError(f"not well-formed XML: {error or type(error).__name__}") from error

    def _read(self, stream: _Limited) -> Iterator[CvatImage]:
        import defusedxml.ElementTree

        above: list[Any] = []
        boxes: list[Box] = []
        problem = ""
        events = defusedxml.ElementTree.iterparse(stream, ("start", "end"), forbid_dtd=True)
        for event, element in events:
            stream.since_event = 0
            if event == "start":
                above.append(element)
                self._check(above)
                continue
            above.pop()
            in_image = len(above) == 2 and above[1].tag == _IMAGE
            if in_image and element.tag in _SHAPES:
                try:
                    boxes.append(self._box(element))
                except ValueError as error:
                    problem = problem or f"{element.tag} {len(boxes) + 1}: {error}"
            elif in_image and element.tag == _TAG:
                self.tags += 1
            elif len(above) == 1 and element.tag == _IMAGE:
                yield _image(element, boxes, problem)
                boxes, problem = [], ""
            elif element.tag == "name" and len(above) > 2 and above[-1].tag == "label":
                self.labels[label_of(element.text or "")] = None
            if above:
                above[-1].remove(element)

    def _check(self, above: list[Any]) -> None:
        root = above[0].tag
        if root != "annotations":
            raise UsageError(
                f"{self._file}: no annotations of CVAT: it begins with <{root[:40]}>, expected <annotations>"
            )
        if len(above) == 2 and above[1].tag == _TRACK:
            raise UsageError(
                f"{self._file}: expected images with their shapes, got the tracks of a video; export the "
                "task from CVAT as 'CVAT for images 1.1', with its images"
            )
        if len(above) > _DEEPEST:
            raise CvatError(f"elements in each other, more than {_DEEPEST} deep, as no export of CVAT has")

    def _box(self, element: Any) -> Box:
        """Return the box round a shape.

        Raises:
            ValueError: Says what is wrong.
        """
        label = label_of(element.get("label") or "")
        if not label:
            raise ValueError("unlabelled: it has no label")
        sides, kind = _sides(element)
        if kind:
            self._counts.note(kind)
        return Box(label, *sides)


class _Limited:
    """A stream that ends an element which is too long for memory.

    Attributes:
        since_event: The bytes that were read since the last element began or ended.
    """

    def __init__(self, opened: IO[bytes]) -> None:
        self._opened = opened
        self.since_event = 0

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        read = self._opened.read(size)
        self.since_event += len(read)
        if self.since_event > _MOST_BYTES:
            raise CvatError(f"an element of more than {_MOST_BYTES >> 20} MiB, as no export of CVAT has")
        return read


def _image(element: Any, boxes: list[Box], problem: str) -> CvatImage:
    size = None
    if element.get("width") and element.get("height"):
        try:
            size = _number(element, "width"), _number(element, "height")
        except ValueError as error:
            problem = problem or str(error)
    return CvatImage(
        element.get("id") or "?",
        element.get("name") or "",
        element.get("subset") or "",
        size,
        tuple(boxes),
        problem,
    )


def _sides(element: Any) -> tuple[Sides, str]:
    """Return the box round a shape, and its kind if it is no upright box."""
    kind = element.tag
    if kind == "box":
        xmin, ymin, xmax, ymax = (_number(element, key) for key in ("xtl", "ytl", "xbr", "ybr"))
        degrees = shapes.rotation_of(element.get("rotation"))
        sides = shapes.enclose_rotated((xmin, ymin, xmax, ymax), degrees)
        return sides, shapes.ROTATED if degrees else ""
    if kind == "polygon":
        points = _points(element.get("points") or "")
        return shapes.enclose(points), "" if shapes.is_upright(points) else shapes.POLYGON
    if kind == "ellipse":
        x, y, across, down = (_number(element, key) for key in ("cx", "cy", "rx", "ry"))
        degrees = shapes.rotation_of(element.get("rotation"))
        return shapes.enclose_ellipse((x, y), (across, down), degrees), shapes.ELLIPSE
    if kind == "mask":
        left, top, width, height = (_number(element, key) for key in ("left", "top", "width", "height"))
        return (left, top, left + width, top + height), shapes.MASK
    raise ValueError(
        "expected an object with an area (box, polygon, ellipse or mask); remove the shape, or draw a box"
    )


def _points(text: str) -> list[tuple[float, float]]:
    points = []
    for pair in text.split(";"):
        numbers = pair.split(",")
        if len(numbers) != 2:
            raise ValueError(f"points: expected x,y;x,y;..., got {brief(text)}")
        points.append((number(numbers[0]), number(numbers[1])))
    if len(points) < 3:
        raise ValueError(f"points: expected three or more, got {brief(text)}")
    return points


def _number(element: Any, key: str) -> float:
    text = element.get(key)
    if text is None:
        raise ValueError(f"it has no {key}")
    return number_of(key, text)
