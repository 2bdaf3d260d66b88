"""Which columns of a CSV hold a box, and how they write it."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from components.base.errors import UsageError
from components.ingest.readings import Sides
from components.ingest.values import number

# What keras-retinanet writes, without a line that names the columns.
HEADERLESS = ("filename", "x1", "y1", "x2", "y2", "class")
_CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)
_LENGTHS = (
    ("x", "y", "w", "h"),
    ("bbox_x", "bbox_y", "bbox_w", "bbox_h"),
    ("bbox_x", "bbox_y", "bbox_width", "bbox_height"),
    ("left", "top", "width", "height"),
    ("x", "y", "width", "height"),
)
# Columns with a whole box, or with several, in one field.
_IN_ONE_FIELD = ("bbox", "box", "bounding_box", "boundingbox")
_SEVERAL_IN_ONE_FIELD = ("bboxes", "boxes", "region_shape_attributes")
# Names of sides and centres, written another way: x_center, cx, bbox_xmin, Xmin (px); without all but letters
# and digits.
_LIKE_A_SIDE = re.compile(
    r"(bbox|bndbox|box|boundingbox|roi)?"
    r"((?P<axis>[xy])(min|max|[0-3]|cent(er|re)|c)|(min|max|cent(er|re)|c)(?P<last>[xy]))(px|pixels?)?"
)


@dataclasses.dataclass(frozen=True)
class BoxColumns:
    """The four columns of a box.

    Attributes:
        names: The columns, in the order of a box's numbers.
        are_lengths: Whether the last two are its width and height, else its right and lower side.
        in_one: The column that has all four of them in one field, if one has.
    """

    names: tuple[str, ...]
    are_lengths: bool = False
    in_one: str | None = None

    def sides(self, values: Sequence[float]) -> Sides:
        """Return (xmin, ymin, xmax, ymax) of the four numbers."""
        x, y, right, lower = values
        return (x, y, x + right, y + lower) if self.are_lengths else (x, y, right, lower)


def find_box_columns(path: Path, header: Sequence[str]) -> BoxColumns | None:
    """Return the columns of a box; None where the table has no boxes.

    Raises:
        UsageError: It has boxes, and not in four columns that are known.
    """
    for names in _CORNERS:
        if set(names) <= set(header):
            return BoxColumns(names)
    for names in _LENGTHS:
        if set(names) <= set(header):
            return BoxColumns(names, are_lengths=True)
    for at, names in enumerate((*_CORNERS[:3], *_LENGTHS[1:3])):
        found = [name for name in names if name in header]
        # x1 and x2 alone may be anything.
        if found and (at < 2 or len({name[:-1] if at == 2 else name for name in found}) > 1):
            raise UsageError(
                f"{path}: the columns {', '.join(found)} mean detection, which needs {', '.join(names)}, in "
                "pixels"
            )
    if in_one := [name for name in _IN_ONE_FIELD if name in header]:
        return BoxColumns(_LENGTHS[1], are_lengths=True, in_one=in_one[0])
    if in_one := [name for name in _SEVERAL_IN_ONE_FIELD if name in header]:
        raise UsageError(
            f"{path}: expected a box in four columns, {', '.join(_CORNERS[0])} or "
            f"{', '.join(_LENGTHS[0])}, got "
            f"the column {in_one[0]}; write its numbers into columns of their own"
        )
    if like_sides := _like_sides(header):
        raise UsageError(
            f"{path}: expected a box in four columns, {', '.join(_CORNERS[0])} or "
            f"{', '.join(_LENGTHS[0])}, got {', '.join(like_sides)}; write the corners into columns of these "
            "names, or leave the columns out if they are no boxes"
        )
    return None


def _like_sides(header: Sequence[str]) -> list[str]:
    """Return the columns that seem to be sides or centres of boxes; none where one axis alone has any."""
    matches = {name: _LIKE_A_SIDE.fullmatch(re.sub(r"[^a-z0-9]", "", name)) for name in header}
    axes = {name: match["axis"] or match["last"] for name, match in matches.items() if match}
    return list(axes) if set(axes.values()) == {"x", "y"} else []


def is_headerless(cells: Sequence[str]) -> bool:
    """Return whether the first line of a table is a box, or an image without one, as HEADERLESS has them."""
    if len(cells) != len(HEADERLESS) or not cells[0].strip():
        return False
    *sides, label = (cell.strip() for cell in cells[1:])
    if not any(sides):
        return not label and "." in cells[0]
    try:
        list(map(number, sides))
    except ValueError:
        return False
    return True
