"""A Pascal VOC XML file: the boxes of one image.

    <annotation><filename>cat.12.jpg</filename><size><width>300</width><height>224</height></size>
      <object><name>cat</name><difficult>0</difficult><truncated>0</truncated>
        <bndbox><xmin>38</xmin><ymin>19</ymin><xmax>241</xmax><ymax>191</ymax></bndbox></object></annotation>

Coordinates are taken as they are, with their fractions: the challenges' own files count pixels from 1,
today's tools from 0, and no file tells which. The box round a rotated one is read (CVAT's exports have the
upright box and an attribute `rotation`), and the one round a polygon where there is no box, as the first
LabelMe writes it (http://labelme.csail.mit.edu). Everything else (folder, path, source, pose, parts of an
object) may be missing and is not looked at. XML files come from anywhere: one with a document type, entities
or references to other files is refused before any of it is followed.
"""

import dataclasses
from pathlib import Path
from typing import Any

from components.ingest.files import label_of
from components.ingest.readings import Size
from components.ingest.sources.shapes import (
    POLYGON,
    ROTATED,
    enclose,
    enclose_rotated,
    is_upright,
    rotation_of,
)
from components.ingest.truth import Boxes
from components.ingest.truth.placing import Box
from components.ingest.values import number

# An object takes about 300 bytes: room for ten thousands on one image.
MAX_BYTES = 4 << 20
_LEAST_POINTS = 3
_SIDES = ("xmin", "ymin", "xmax", "ymax")


class VocError(Exception):
    """A file that is no VOC annotation, or a broken one, and why."""


@dataclasses.dataclass(frozen=True)
class VocFile:
    """The content of a VOC annotation.

    Attributes:
        filename: What it calls its image; "" if it does not.
        annotation: The boxes.
        kinds: What each object is that is no upright box, as ShapeCounts has it.
    """

    filename: str
    annotation: Boxes
    kinds: tuple[str, ...] = ()


def read_voc(path: Path) -> VocFile:
    """Read one file.

    Raises:
        VocError: It cannot be used.
    """
    import defusedxml.ElementTree
    from defusedxml import DefusedXmlException

    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise VocError(f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise VocError(f"larger than {MAX_BYTES >> 20} MiB, which no annotation of one image is")
    try:
        root = defusedxml.ElementTree.fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise VocError("it has a document type or entities, which no VOC annotation needs") from error
    except (SyntaxError, ValueError, LookupError, RecursionError) as error:
        # SyntaxError is what the parser's own error is; the others are of encodings that do not exist.
        raise VocError(f"not well-formed XML: {error or type(error).__name__}") from error
    if root.tag != "annotation":
        raise VocError(f"no VOC annotation: it begins with <{root.tag[:40]}>, expected <annotation>")
    boxes: list[Box] = []
    kinds: list[str] = []
    for at, element in enumerate(root.findall("object"), start=1):
        if (found := _box(element, at)) is not None:
            boxes.append(found[0])
            kinds += [found[1]] if found[1] else []
    return VocFile(_text(root, "filename"), Boxes(tuple(boxes), _size(root)), tuple(kinds))


def _size(root: Any) -> Size | None:
    """Return what the file says of the image's size; None if that is nothing, or 0, or no number."""
    for width, height in (("size/width", "size/height"), ("imagesize/ncols", "imagesize/nrows")):
        try:
            return number(_text(root, width)), number(_text(root, height))
        except ValueError:
            continue
    return None


def _box(element: Any, at: int) -> tuple[Box, str] | None:
    """Return the box of an object, and its kind if it is no upright box; None for a deleted one."""
    label = label_of(_text(element, "name"))
    where = f"object {at}" + (f" ({label})" if label else "")
    if not label:
        raise VocError(f"unlabelled: {where} has no name")
    corners = element.findall("polygon/pt") if element.find("bndbox") is None else []
    if corners and _text(element, "deleted") == "1":
        return None
    if corners:
        points = [(_number(corner, "x", where), _number(corner, "y", where)) for corner in corners]
        if len(points) < _LEAST_POINTS:
            raise VocError(f"{where}: polygon: expected {_LEAST_POINTS} points or more, got {len(points)}")
        sides, kind = enclose(points), "" if is_upright(points) else POLYGON
    else:
        xmin, ymin, xmax, ymax = (_number(element, f"bndbox/{side}", where) for side in _SIDES)
        sides, kind = (xmin, ymin, xmax, ymax), ""
    if degrees := _rotation(element):
        sides, kind = enclose_rotated(sides, degrees), ROTATED
    difficult, truncated = (_is_set(_text(element, flag)) for flag in ("difficult", "truncated"))
    return Box(label, *sides, difficult, truncated), kind


def _number(element: Any, path: str, where: str) -> float:
    name, text = path.rpartition("/")[2], _text(element, path)
    try:
        return number(text)
    except ValueError as error:
        raise VocError(f"{where}: {name}: {error}" if text else f"{where} has no {name}") from error


def _rotation(element: Any) -> float:
    """Return the degrees by which CVAT says that an object's box is rotated about its centre; 0 for none."""
    attributes = element.find("attributes")
    if attributes is None:
        return 0.0
    for attribute in attributes:
        if _text(attribute, "name") == "rotation":
            return rotation_of(_text(attribute, "value"))
    for pair in (attributes.text or "").split(","):
        name, _, value = pair.partition("=")
        if name.strip() == "rotation":
            return rotation_of(value)
    return 0.0


def _is_set(flag: str) -> bool:
    """Return whether a flag is set: tools write 0, 1, 1.0, and some true, false or Unspecified."""
    try:
        return number(flag) != 0
    except ValueError:
        return flag.lower() == "true"


def _text(element: Any, path: str) -> str:
    return (element.findtext(path) or "").strip()
