"""A Pascal VOC XML file: the boxes of one image.

    <annotation><filename>cat.12.jpg</filename><size><width>300</width><height>224</height></size>
      <object><name>cat</name><difficult>0</difficult><truncated>0</truncated>
        <bndbox><xmin>38</xmin><ymin>19</ymin><xmax>241</xmax><ymax>191</ymax></bndbox></object></annotation>

Coordinates are taken as they are, with their fractions: the challenges' own files count pixels from 1,
today's tools from 0, and no file tells which. The box round a rotated one is read (CVAT's exports have the
upright box and an attribute `rotation`). Everything else (folder, path, source, pose, parts of an
object) may be missing and is not looked at. XML files come from anywhere: one with a document type, entities
or references to other files is refused before any of it is followed.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from components.ingest.files import label_of
from components.ingest.readings import Size
from components.ingest.sources.shapes import enclose_rotated, rotation_of
from components.ingest.truth import Boxes
from components.ingest.truth.placing import Box
from components.ingest.values import number

# An object takes about 300 bytes: room for ten thousands on one image.
MAX_BYTES = 4 << 20
_SIDES = ("xmin", "ymin", "xmax", "ymax")


class VocError(Exception):
    """A file that is no VOC annotation, or a broken one, and why."""


@dataclasses.dataclass(frozen=True)
class VocFile:
    """The content of a VOC annotation.

    Attributes:
        filename: What it calls its image; "" if it does not.
        annotation: The boxes.
        rotated: How many objects have a rotation, by which CVAT says that their box is slanted.
    """

    filename: str
    annotation: Boxes
    rotated: int = 0


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
    objects = root.findall("object")
    rotations = list(map(_rotation, objects))
    boxes = tuple(_box(element, at, rotations[at - 1]) for at, element in enumerate(objects, start=1))
    rotated = len(rotations) - rotations.count(0.0)
    return VocFile(_text(root, "filename"), Boxes(boxes, _size(root)), rotated)


def _size(root: Any) -> Size | None:
    """Return what the file says of the image's size; None if that is nothing, or 0, or no number."""
    try:
        return number(_text(root, "size/width")), number(_text(root, "size/height"))
    except ValueError:
        return None


def _box(element: Any, at: int, degrees: float) -> Box:
    label = label_of(_text(element, "name"))
    where = f"object {at}" + (f" ({label})" if label else "")
    if not label:
        raise VocError(f"unlabelled: {where} has no name")
    sides = []
    for side in _SIDES:
        text = _text(element, f"bndbox/{side}")
        try:
            sides.append(number(text))
        except ValueError as error:
            raise VocError(f"{where}: {side}: {error}" if text else f"{where} has no {side}") from error
    difficult, truncated = (_is_set(_text(element, flag)) for flag in ("difficult", "truncated"))
    xmin, ymin, xmax, ymax = sides
    if degrees:
        xmin, ymin, xmax, ymax = enclose_rotated((xmin, ymin, xmax, ymax), degrees)
    return Box(label, xmin, ymin, xmax, ymax, difficult, truncated)


def _rotation(element: Any) -> float:
    """Return the degrees by which CVAT says that an object's box is rotated about its centre; 0 for none."""
    attributes = element.find("attributes")
    for attribute in () if attributes is None else attributes:
        if _text(attribute, "name") == "rotation":
            return rotation_of(_text(attribute, "value"))
    return 0.0


def _is_set(flag: str) -> bool:
    """Return whether a flag is set: tools write 0, 1, 1.0, and some true, false or Unspecified."""
    try:
        return number(flag) != 0
    except ValueError:
        return flag.lower() == "true"


def _text(element: Any, path: str) -> str:
    return (element.findtext(path) or "").strip()
