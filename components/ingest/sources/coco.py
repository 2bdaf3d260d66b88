"""COCO: images, boxes and classes in one JSON file.

    annotations/instances_train2017.json, train2017/*.jpg, annotations/instances_val2017.json, val2017/*.jpg
    train/_annotations.coco.json, train/*.jpg, valid/...

https://cocodataset.org/#format-data: `images` have an id, a file_name, width and height; `annotations` an
image_id, a category_id and a bbox [x, y, width, height] in pixels; `categories` an id and a name.

The categories that a box is of are the classes, in the order of their ids, numbered anew from 1. An
annotation with `iscrowd` 1 stands for many objects in one box: it is kept and marked difficult, which the
evaluation passes over, as COCO's own does. An image without annotations is background. Segments are read
where there is no bbox: the box is the one round them. It is also the one round a rotated box: CVAT's exports
have the upright box and an attribute `rotation`. Images that the JSON does not name are not part of the data.

INPUT is the JSON file, then its name tells no split; or a folder: all its instances_*.json and
*_annotations.coco.json, whose split is in their names, or else in their folders; or its only .json.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.base.errors import DataRefusedError, UsageError
from components.ingest.files import label_of
from components.ingest.item import Item, Reject
from components.ingest.json_stream import JsonError, read_object
from components.ingest.label_map import LabelMap
from components.ingest.readings import Sides
from components.ingest.sources.coco_segments import box_of_segments
from components.ingest.sources.context import FITS_FILES, SourceContext
from components.ingest.sources.gather import Gathered, Names
from components.ingest.sources.lookup import split_of_list
from components.ingest.sources.shapes import MASK, POLYGON, ROTATED, ShapeCounts, enclose_rotated, rotation_of
from components.ingest.truth.placing import Box
from components.ingest.values import brief, number, number_of, whole, words

_KNOWN_NAMES = re.compile(r"(instances_.+|.*_annotations\.coco)\.json", re.IGNORECASE)
# COCO's files have one word of each of these groups at their beginning.
_OWN_WORDS = (
    (b'"images"', b'"annotations"'),
    (b'"file_name"', b'"image_id"', b'"category_id"', b'"supercategory"'),
)


def find(context: SourceContext) -> Iterator[Item | Reject]:
    """Yield one item per image of the JSON files.

    Raises:
        UsageError: INPUT holds no such file.
        DataRefusedError: A file is damaged, of another kind, or contradicts itself.
    """
    # COCO brings its own classes: a label map counts if it was given.
    label_map = context.label_map() if context.config.label_map is not None else None
    gathered = Gathered(context)
    categories = _Categories()
    shapes = ShapeCounts()
    for at, file in enumerate(_files(context)):
        yield from _List(context, gathered, categories, shapes, file, at).read(label_map)
    shapes.warn(context.index)
    if label_map is None:
        context.index.set_class_names(categories.used())
    yield from gathered.inputs(in_shares=context.in_shares(usual=False))


def fits(context: SourceContext) -> str | None:
    """Return the first JSON file that is called or begins as COCO's are; None where none is."""
    for at, entry in enumerate(context.files_ending(".json")):
        if at >= FITS_FILES and not _KNOWN_NAMES.fullmatch(entry.path.rpartition("/")[2]):
            continue
        head = context.read_head(entry).lstrip()
        if head.startswith(b"{") and all(any(word in head for word in words) for words in _OWN_WORDS):
            return f"{entry.path} lists images and their annotations"
    return None


class _Categories:
    """The classes of all files, which must be the same."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._used: set[int] = set()

    def add(self, key: int, name: str, where: str) -> None:
        if self._names.setdefault(key, name) != name:
            raise DataRefusedError(
                f"{where}: the category {key} is {name!r}, and {self._names[key]!r} elsewhere: these files "
                "do not belong together"
            )

    def used(self) -> list[str]:
        """Return the names of the categories with a box, in the order of their ids."""
        return [self._names[key] for key in sorted(self._used)]

    def name(self, key: int, where: str) -> str:
        if key not in self._names:
            raise DataRefusedError(
                f"{where}: category_id {key} is not among the categories, which are "
                f"{', '.join(map(str, sorted(self._names)[:10])) or 'none'}. Correct the file"
            )
        self._used.add(key)
        return self._names[key]


class _List:
    """One JSON file."""

    def __init__(
        self,
        context: SourceContext,
        gathered: Gathered,
        categories: _Categories,
        shapes: ShapeCounts,
        file: Path,
        at: int,
    ) -> None:
        self._context, self._gathered = context, gathered
        self._categories, self._shapes = categories, shapes
        self._file, self._at = file, at
        self._names = Names(context, file)
        # Where it is the only one it tells the folder of its images, and nothing else.
        self._folder_split = split_of_list(context, file.relative_to(context.root).as_posix())
        self._split = None if context.input_file is not None else self._folder_split

    def read(self, label_map: LabelMap | None) -> Iterator[Reject]:
        """Add what the file tells to what was gathered; what belongs to no image is a reject.

        In two passes, since annotations may stand before what they refer to.
        """
        lists = set()
        images = 0
        for key, value in self._pairs():
            lists.add(key)
            images += key == "images"
            if key == "categories":
                where = f"{self._file}, category {_format_value(value, 'name')}"
                self._categories.add(_whole(value, "id", where), _name(value, where), where)
            elif key == "images":
                self._add_image(value)
        if not lists & {"images", "annotations", "categories"}:
            raise UsageError(
                f"{self._file}: no COCO annotations: expected lists images, annotations and categories, "
                f"found {', '.join(sorted(lists)[:10]) or 'nothing'}"
            )
        self._context.announce(images)
        for key, value in self._pairs():
            if key == "annotations":
                yield from self._add_box(value, label_map)

    def _pairs(self) -> Iterator[tuple[str, Any]]:
        try:
            yield from read_object(self._file)
        except JsonError as error:
            raise DataRefusedError(f"{self._file}, {error}. Get the file again, or correct it") from error

    def _key(self, image_id: int) -> str:
        return f"{self._at} {image_id}"

    def _add_image(self, value: Any) -> None:
        where = f"{self._file.name}, image {_format_value(value, 'id')}"
        image_id, name = _whole(value, "id", where), _text(value, "file_name", where)
        if self._gathered.find_told(self._key(image_id)) is not None:
            raise DataRefusedError(f"{where}: its id is there twice. Correct the file")
        problem = ""
        size = []
        for side in ("width", "height"):
            try:
                size.append(number(value.get(side) or 0))
            except ValueError as error:
                problem = problem or f"{side}: {error} ({where})"
        found = self._names.find(name, self._folder_split)
        told = (size[0], size[1]) if not problem and min(size) > 0 else None
        self._gathered.add_image(self._key(image_id), name, found, self._split, told, where)
        if problem:
            self._gathered.spoil(self._key(image_id), problem)

    def _add_box(self, value: Any, label_map: LabelMap | None) -> Iterator[Reject]:
        where = f"{self._file.name}, annotation {_format_value(value, 'id')}"
        key = self._key(_whole(value, "image_id", where))
        if self._gathered.find_told(key) is None:
            self._context.announce(1)
            yield Reject(where, f"its image_id {brief(value['image_id'])} is not among the images")
            return
        name = self._categories.name(_whole(value, "category_id", where), where)
        try:
            sides = _sides(value, self._shapes)
            crowd = bool(number(value.get("iscrowd") or 0))
        except ValueError as error:
            self._gathered.spoil(key, f"{error} ({where})")
            return
        if label_map is not None:
            name = label_map.named(name, where)
        self._gathered.add_box(key, Box(name, *sides, difficult=crowd))


def _files(context: SourceContext) -> list[Path]:
    """Return the JSON files to read."""
    if context.input_file is not None:
        return [context.input_file]
    paths = [entry.path for entry in context.files_ending(".json")]
    known = [path for path in paths if _KNOWN_NAMES.fullmatch(path.rpartition("/")[2])]
    if not known and len(paths) != 1:
        shown = f"{len(paths)} other .json files ({', '.join(paths[:3])})" if paths else "no .json file"
        raise UsageError(
            f"{context.shown}: expected files like annotations/instances_train2017.json, found {shown}. Give "
            "the file itself as INPUT"
        )
    return [context.root / path for path in known or paths]


def _sides(value: dict[str, Any], shapes: ShapeCounts) -> Sides:
    """Return the box of an annotation, else that of its segments.

    Raises:
        ValueError: Says what is wrong.
    """
    bbox = value.get("bbox")
    if not bbox and (segments := value.get("segmentation")):
        try:
            x, y, width, height = box_of_segments(segments)
        except ValueError as error:
            raise ValueError(f"segmentation: {error}") from error
        shapes.note(MASK if isinstance(segments, dict) else POLYGON)
        return x, y, x + width, y + height
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise ValueError(f"bbox: expected [x, y, width, height], found {brief(bbox)}")
    x, y, width, height = (number_of("bbox", side) for side in bbox)
    sides = x, y, x + width, y + height
    attributes = value.get("attributes")
    if isinstance(attributes, dict) and (degrees := rotation_of(attributes.get("rotation", 0))):
        shapes.note(ROTATED)
        return enclose_rotated(sides, degrees)
    return sides


def _whole(value: Any, key: str, where: str) -> int:
    found = value.get(key) if isinstance(value, dict) else None
    try:
        return whole(found)
    except ValueError:
        raise DataRefusedError(
            f"{where}: expected a whole number as {key}, found {brief(found)}. Correct the file"
        ) from None


def _text(value: dict[str, Any], key: str, where: str) -> str:
    found = value.get(key)
    try:
        text = words(found)
    except ValueError:
        raise DataRefusedError(f"{where}: expected a {key}, found {brief(found)}. Correct the file") from None
    return text


def _name(value: dict[str, Any], where: str) -> str:
    name = label_of(_text(value, "name", where))
    if not name:
        raise DataRefusedError(f"{where}: expected a name, found {brief(value['name'])}. Correct the file")
    return name


def _format_value(value: Any, key: str) -> str:
    return brief(value.get(key) if isinstance(value, dict) else value).strip("'")
