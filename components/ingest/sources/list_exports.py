"""Layouts of lists that tools write in forms of their own: Open Images, Vertex AI, keras-retinanet.

ImageID,Source,LabelName,Confidence                     Open Images; with XMin,XMax,YMin,YMax also boxes
training,gs://bucket/1.jpg,daisy                        an import file of Vertex AI or AutoML, without names
training,gs://bucket/1.jpg,daisy,0.1,0.1,,,0.3,0.3,,    the same with a box: corners, as shares
path/1.jpg,38,19,241,191,cat                            keras-retinanet's boxes, without names of columns
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.base.words import format_some
from components.ingest.sources.box_columns import HEADERLESS, BoxColumns, is_headerless
from components.ingest.sources.list_layouts import SEVERAL_LABELS, Layout, LeftOutRowError, is_image_name

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_ML_USES = ("training", "train", "validation", "test", "unassigned")
_CORNER_FIELDS = 8
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.")
_IMAGE_ID, _LABEL_NAME, _CONFIDENCE = "imageid", "labelname", "confidence"
_OPEN_IMAGES_FLAGS = {"isgroupof": "difficult", "istruncated": "truncated"}


def find_export(
    path: Path, rows: Sequence[list[str]], class_names: Mapping[str, str], *, multilabel: bool = False
) -> Layout | None:
    """Return how a list is read if a known tool wrote it, else None.

    Args:
        path: The list.
        rows: Its first rows; the first may be the names of the columns.
        class_names: Names of the classes of Open Images, by their identifiers.
        multilabel: Whether an image may have several classes.
    """
    first = rows[0] if rows else []
    columns = [cell.strip().lower() for cell in first]
    if {_IMAGE_ID, _LABEL_NAME} <= set(columns):
        return _open_images(path, columns, class_names)
    if is_headerless(first):
        return Layout(
            HEADERLESS, 0, 5, has_names=False, box=BoxColumns(HEADERLESS[1:5]), width=len(HEADERLESS),
            note=f"{path.name} is read as keras-retinanet's list, {','.join(HEADERLESS)} without names of "
            "columns, as its first line has six fields, four of them numbers.",
        )  # fmt: skip
    if _is_import_file(first):
        return _import_file(path, rows, multilabel=multilabel)
    return None


def _open_images(path: Path, columns: Sequence[str], class_names: Mapping[str, str]) -> Layout:
    label, confidence = columns.index(_LABEL_NAME), _place(columns, _CONFIDENCE)
    flags = [at for at, name in enumerate(columns) if name in _OPEN_IMAGES_FLAGS]
    has_boxes = set(_CORNERS) <= set(columns)

    def adapt(cells: list[str]) -> list[str]:
        if confidence is not None and cells[confidence] in ("0", "0.0"):
            raise LeftOutRowError("Confidence 0: the class is not on the image")
        cells = list(cells)
        cells[label] = class_names.get(cells[label], cells[label])
        for at in flags:
            cells[at] = str(int(cells[at] == "1"))  # -1 is unknown
        return cells

    named = "their names" if class_names else "identifiers, as no *class-descriptions*.csv is here"
    return Layout(
        [_OPEN_IMAGES_FLAGS.get(name, name) for name in columns], columns.index(_IMAGE_ID), label,
        box=BoxColumns(_CORNERS) if has_boxes else None, in_shares=has_boxes, width=len(columns), adapt=adapt,
        note=f"{path.name} is read as Open Images', with {'boxes as shares and ' if has_boxes else ''}"
        f"classes by {named}, as it has the columns ImageID and LabelName.",
    )  # fmt: skip


def _place(columns: Sequence[str], name: str) -> int | None:
    return columns.index(name) if name in columns else None


def _is_import_file(first: Sequence[str]) -> bool:
    """Return whether a row begins with an address, or with a split and a file."""
    if not first:
        return False
    if _URL.match(first[0]):
        return is_image_name(first[0])
    is_file = len(first) > 1 and (_URL.match(first[1]) is not None or is_image_name(first[1]))
    return is_file and first[0].lower() in ("", *_ML_USES)


def _import_file(path: Path, rows: Sequence[list[str]], *, multilabel: bool) -> Layout:
    has_boxes = any(map(_has_corners, rows))
    columns = ["ml_use", "image", "label", *(_CORNERS if has_boxes else ())]
    return Layout(
        columns, 1, 2, 0, has_names=False, box=BoxColumns(_CORNERS) if has_boxes else None,
        in_shares=has_boxes,
        adapt=functools.partial(_adapt_import, has_boxes=has_boxes, multilabel=multilabel),
        note=f"{path.name} is read as an import file of Vertex AI, split,address,class"
        f"{' and the corners of a box as shares' if has_boxes else ''} without names of columns, as its "
        "first line begins with "
        f"{'an address' if _URL.match(rows[0][0]) else 'a split and a file'}.",
    )  # fmt: skip


def _has_corners(row: Sequence[str]) -> bool:
    corners = _parts_of_import(row)[3]
    # Without the last corner, which is empty where two are given, there are six fields.
    return len(corners) >= _CORNER_FIELDS - 2 and not any(re.search("[A-Za-z]", cell) for cell in corners)


def _parts_of_import(cells: Sequence[str]) -> tuple[str, str, str, list[str]]:
    """Return split, address, class, and what follows, without empty fields at its end."""
    rest = list(cells)
    split = rest.pop(0) if rest and not (_URL.match(rest[0]) or is_image_name(rest[0])) else ""
    address = rest.pop(0) if rest else ""
    label = rest.pop(0) if rest else ""
    while rest and not rest[-1]:
        rest.pop()
    return "" if split.lower() == "unassigned" else split, address, label, rest


def _adapt_import(cells: list[str], *, has_boxes: bool, multilabel: bool) -> list[str]:
    split, address, label, rest = _parts_of_import(cells)
    if not has_boxes:
        if multilabel:
            return [split, address, json.dumps([name for name in (label, *rest) if name])]
        if rest:
            raise ValueError(f"several classes ({format_some([label, *rest], 3)}): {SEVERAL_LABELS}")
        return [split, address, label]
    if len(rest) > _CORNER_FIELDS:
        raise ValueError(f"{len(rest)} numbers after the class: expected four corners, x and y of each")
    # Two corners that are opposite, or all four.
    across, down = [x for x in rest[::2] if x], [y for y in rest[1::2] if y]
    if not across and not down:
        return [split, address, label, "", "", "", ""]
    if len(across) != len(down) or len(across) < 2:
        raise ValueError(f"expected two or four corners of a box, got {','.join(rest)[:80]}")
    return [split, address, label, *(_sides_of(across, down))]


def _sides_of(across: list[str], down: list[str]) -> tuple[str, str, str, str]:
    """Return the box around the corners, unchanged if one of them is not a number: the message names it."""
    try:
        xs, ys = sorted(across, key=float), sorted(down, key=float)
    except ValueError:
        xs, ys = across, down
    return xs[0], ys[0], xs[-1], ys[-1]
