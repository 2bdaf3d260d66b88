"""A JSON file of LabelMe: the shapes on one image.

    {"version": "5.5.0", "imagePath": "1.jpg", "imageData": null, "imageHeight": 20, "imageWidth": 40,
     "shapes": [{"label": "cat", "points": [[10, 5], [20, 15]], "shape_type": "rectangle", "group_id": null}]}

https://github.com/wkentaro/labelme

Points are in pixels of the image as it is seen. A rectangle has two opposite corners (X-AnyLabeling writes
all four), a circle its centre and a point on it, a mask the corners of its box. Shapes of one label with the
same `group_id` are one object, as LabelMe's own converters have it.
"""

import base64
import binascii
import dataclasses
import math
from pathlib import Path
from typing import Any

from components.ingest.files import label_of
from components.ingest.json_stream import JsonError, read_object
from components.ingest.readings import Size
from components.ingest.sources import shapes
from components.ingest.truth import Boxes
from components.ingest.truth.placing import Box
from components.ingest.values import brief, number, words

# An image of 48 MiB in it, as text.
_MOST_CHARS = 64 << 20
# How many points the shapes have, at least, and what they are if they are no upright box.
_KINDS = {
    "rectangle": (2, ""),
    "mask": (2, shapes.MASK),
    "circle": (2, shapes.CIRCLE),
    "polygon": (3, shapes.POLYGON),
    "rotation": (4, shapes.ROTATED),
    "oriented_rectangle": (4, shapes.ROTATED),
}


class LabelmeError(Exception):
    """A file that cannot be used, and why."""


@dataclasses.dataclass(frozen=True)
class LabelmeFile:
    """The content of a file.

    Attributes:
        image_path: What it calls its image; "" if it does not.
        image_data: The image in the file, in base64; "" without one.
        annotation: The boxes.
        kinds: What each shape is that is not an upright box, as ShapeCounts has it.
        grouped: How many shapes are part of another one's object.
    """

    image_path: str
    image_data: str
    annotation: Boxes
    kinds: tuple[str, ...]
    grouped: int

    def image(self) -> bytes:
        """Return the image in the file.

        Raises:
            LabelmeError: It is damaged.
        """
        try:
            return base64.b64decode(self.image_data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise LabelmeError(f"imageData: not an image in base64: {error}") from error


def read_labelme(path: Path) -> LabelmeFile | None:
    """Read one file; None if it is JSON of something else.

    Raises:
        LabelmeError: It cannot be used.
    """
    values: dict[str, Any] = {}
    found: list[Any] = []
    try:
        for key, value in read_object(path, most_chars=_MOST_CHARS):
            if key == "shapes":
                found.append(value)
            elif key in ("imagePath", "imageData", "imageWidth", "imageHeight"):
                values[key] = value
    except JsonError as error:
        raise LabelmeError(str(error)) from error
    if not found and "imagePath" not in values:
        return None
    objects: dict[object, Box] = {}
    kinds = []
    for at, shape in enumerate(found, start=1):
        label = ""
        try:
            label = _label(shape)
            box, kind = _shape(shape, label)
        except ValueError as error:
            told = f" ({label})" if label else ""
            raise LabelmeError(f"shape {at}{told}: {error}") from error
        kinds += [kind] if kind else []
        group = shape.get("group_id")
        which = (box.label, group) if isinstance(group, (int, str)) else at
        objects[which] = _join(objects[which], box) if which in objects else box
    size = _size(values)
    boxes = Boxes(tuple(objects.values()), size)
    grouped = len(found) - len(objects)
    return LabelmeFile(_text(values, "imagePath"), _text(values, "imageData"), boxes, tuple(kinds), grouped)


def _label(shape: Any) -> str:
    if not isinstance(shape, dict):
        raise ValueError(f"expected a shape with label and points, got {brief(shape)}")
    label = label_of(words(shape.get("label") or ""))
    if not label:
        raise ValueError("unlabelled: it has no label")
    return label


def _shape(shape: dict[str, Any], label: str) -> tuple[Box, str]:
    """Return the box round a shape, and its kind if it is no upright box.

    Raises:
        ValueError: Says what is wrong.
    """
    name = shape.get("shape_type") or "polygon"
    least, kind = _KINDS.get(name, (0, "")) if isinstance(name, str) else (0, "")
    if not least:
        raise ValueError(
            f"expected an object with an area ({', '.join(_KINDS)}), got {brief(name)}; remove the shape, or "
            "draw a box"
        )
    points = shapes.read_points(shape.get("points"), least)
    sides = shapes.enclose(points)
    if name == "circle":
        radius = math.dist(*points[:2])
        sides = shapes.enclose_ellipse(points[0], (radius, radius))
    elif shapes.is_upright(points):
        kind = ""
    return Box(label, *sides, difficult=shape.get("difficult") is True), kind


def _join(one: Box, other: Box) -> Box:
    sides = shapes.enclose([one.sides[:2], one.sides[2:], other.sides[:2], other.sides[2:]])
    return Box(one.label, *sides, difficult=one.difficult and other.difficult)


def _size(values: dict[str, Any]) -> Size | None:
    """Return what the file says of the image's size; None if that is nothing, or no number."""
    try:
        return number(values.get("imageWidth")), number(values.get("imageHeight"))
    except ValueError:
        return None


def _text(values: dict[str, Any], key: str) -> str:
    try:
        return words(values.get(key) or "")
    except ValueError as error:
        raise LabelmeError(f"{key}: {error}") from error
