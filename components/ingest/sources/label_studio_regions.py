"""Regions of Label Studio as boxes: in percent of the image, rotated clockwise about their upper left corner.

https://labelstud.io/guide/task_format#Image-coordinates
"""

from typing import Any

from components.base.errors import UsageError
from components.base.words import format_count, format_part
from components.ingest.files import label_of
from components.ingest.readings import LARGEST_SHARE, SHARES, Sides, Size
from components.ingest.sources import shapes
from components.ingest.sources.context import SourceContext
from components.ingest.sources.label_studio_json import Said, labels_of
from components.ingest.sources.shapes import ShapeCounts
from components.ingest.truth import Boxes
from components.ingest.truth.placing import Box
from components.ingest.values import brief, number, number_of, words


class Regions:
    """Reads the regions of all tasks.

    Args:
        context: The source's.
    """

    def __init__(self, context: SourceContext) -> None:
        self._context = context
        self._label_map = context.label_map()
        self._shapes = ShapeCounts()
        self._in_shares = context.in_shares(usual=True)
        self._is_percent = context.config.box_units is None
        self._boxes = self._small = self._choices = 0

    def read(self, said: tuple[Said, ...], where: str) -> Boxes:
        """Return the boxes of an annotation.

        Raises:
            ValueError: Says what is wrong.
            DataRefusedError: The label map does not have a class.
        """
        boxes = []
        size: Size | None = None
        for one in said:
            size = size or _size(one.about)
            self._choices += one.is_choice
            if not one.is_region or (labels_of(one.value) is None and "choices" in one.value):
                continue
            if rotation := shapes.rotation_of(one.about.get("image_rotation")):
                raise ValueError(
                    f"image_rotation: expected 0, got {rotation:g}: its boxes are of the image as it was "
                    "turned in Label Studio; turn it back there"
                )
            label = _label(one.value)
            if self._label_map is not None:
                label = self._label_map.named(label, where)
            boxes.append(Box(label, *self._sides(one)))
        return Boxes(tuple(boxes), size, self._in_shares)

    def conclude(self) -> None:
        """Warn about what is to be known of all regions.

        Raises:
            UsageError: The numbers seem to be in another unit.
        """
        if self._small > self._boxes / 2:
            found = format_part(self._small, self._boxes, "box with", "boxes with")
            raise UsageError(
                f"{self._context.shown}: expected boxes in percent, 0 to 100, got {found} no number above 1: "
                f"they seem to be {SHARES}; --box-units {SHARES} (in a recipe data.box_units: {SHARES}) "
                "reads them as such"
            )
        self._shapes.warn(self._context.index)
        if self._choices:
            choices = format_count(self._choices, "choice")
            self._context.index.warn(f"{choices} for whole images: not read; boxes are.")

    def _sides(self, said: Said) -> Sides:
        """Return the box round a region, in shares of the image or in pixels."""
        value = said.value
        sides, kind = self._enclose(value, _size(said.about))
        if kind:
            self._shapes.note(kind)
        self._boxes += 1
        if not self._is_percent:
            return sides
        self._small += min(sides) >= 0 and max(sides) <= LARGEST_SHARE
        xmin, ymin, xmax, ymax = (side / 100 for side in sides)
        return xmin, ymin, xmax, ymax

    def _enclose(self, value: dict[str, Any], size: Size | None) -> tuple[Sides, str]:
        """Return the box round a region in the unit of its numbers, and its kind if it is no upright box."""
        if "points" in value:
            points = shapes.read_points(value["points"])
            return shapes.enclose(points), "" if shapes.is_upright(points) else shapes.POLYGON
        if "radiusX" in value:
            x, y, across, down = _numbers(value, "x", "y", "radiusX", "radiusY")
            kind = shapes.ELLIPSE
        else:
            x, y, across, down = _numbers(value, "x", "y", "width", "height")
            kind = ""
        degrees = shapes.rotation_of(value.get("rotation"))
        if not degrees:
            return ((x - across, y - down) if kind else (x, y)) + (x + across, y + down), kind
        # In pixels, where a right angle is one.
        if self._in_shares and size is None:
            raise ValueError("original_width, original_height: expected the size, since a region is rotated")
        wide, high = size if self._in_shares and size is not None else (1.0, 1.0)
        if kind:
            sides = shapes.enclose_ellipse((x * wide, y * high), (across * wide, down * high), degrees)
        else:
            corner, (w, h) = (x * wide, y * high), (across * wide, down * high)
            corners = [(corner[0] + dx, corner[1] + dy) for dx in (0, w) for dy in (0, h)]
            sides = shapes.enclose([shapes.rotate(one, corner, degrees) for one in corners])
        return (sides[0] / wide, sides[1] / high, sides[2] / wide, sides[3] / high), kind or shapes.ROTATED


def _label(value: dict[str, Any]) -> str:
    labels = labels_of(value) or []
    if len(labels) > 1:
        raise ValueError(f"expected one label for each region, got {len(labels)}: {brief(labels)}")
    label = label_of(words(labels[0])) if labels else ""
    if not label:
        raise ValueError("unlabelled: a region has no label")
    return label


def _size(about: dict[str, Any]) -> Size | None:
    try:
        size = number(about.get("original_width")), number(about.get("original_height"))
    except ValueError:
        return None
    return size if min(size) > 0 else None


def _numbers(value: dict[str, Any], *keys: str) -> tuple[float, float, float, float]:
    missing = [key for key in keys if key not in value]
    if missing:
        raise ValueError(
            f"expected a region with an area (rectangle, ellipse or polygon), got one without {missing[0]}; "
            "remove it, or draw a rectangle"
        )
    x, y, width, height = (number_of(key, value[key]) for key in keys)
    return x, y, width, height
