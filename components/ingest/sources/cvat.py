"""CVAT: the XML of an export "CVAT for images 1.1", and its folder of images.

    annotations.xml, images/1.jpg, images/cats/2.jpg
    annotations.xml, images/Train/1.jpg, images/Validation/2.jpg      a project with subsets
    train.xml, val.xml, images/1.jpg, images/2.jpg                    as Datumaro writes them

Boxes are read as they are. Polygons, ellipses, masks, and boxes and ellipses that are rotated are read as the
box round them. An image with a shape without an area (polyline, points, cuboid, skeleton) is rejected, since
its object would count as background. An image without a shape is background. The split is the subset, else
what the XML file or its folder is called, else the folder of the image. The classes are the labels that a
box has, in the order of the file's list, numbered anew from 1.

INPUT is the folder: all its annotations.xml, or all .xml that begin as they do; or the XML file.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from components.base.errors import DataRefusedError, UsageError
from components.base.words import format_count
from components.ingest.files import FileEntry
from components.ingest.item import Item, Reject
from components.ingest.label_map import LabelMap
from components.ingest.sources.context import FITS_FILES, SourceContext
from components.ingest.sources.cvat_xml import CvatError, CvatReader
from components.ingest.sources.gather import Gathered, Names
from components.ingest.sources.lookup import split_of_folders, split_of_list
from components.ingest.sources.shapes import ShapeCounts
from components.ingest.truth.placing import Box

_XML, _KNOWN_NAME = ".xml", "annotations.xml"


def find(context: SourceContext) -> Iterator[Item | Reject]:
    """Yield one item per image of the XML files.

    Raises:
        UsageError: INPUT holds no such file, or one with the tracks of a video.
        DataRefusedError: A file is damaged, or the label map does not have a class.
    """
    # CVAT brings its own classes: a label map counts if it was given.
    label_map = context.label_map() if context.config.label_map is not None else None
    gathered = Gathered(context)
    shapes = ShapeCounts()
    labels: dict[str, None] = {}
    used: set[str] = set()
    tags = 0
    for at, file in enumerate(_files(context)):
        reader = CvatReader(file, shapes)
        _gather(context, gathered, reader, file, at, label_map, used)
        labels |= reader.labels
        tags += reader.tags
    shapes.warn(context.index)
    if tags:
        context.index.warn(f"{format_count(tags, 'tag')} of whole images: not read; boxes are.")
    if label_map is None:
        context.index.set_class_names([*(one for one in labels if one in used), *sorted(used - set(labels))])
    yield from gathered.inputs(in_shares=context.in_shares(usual=False))


def fits(context: SourceContext) -> str | None:
    """Return the first XML file that begins as CVAT's do; None where none does."""
    for entry in context.files_ending(_XML, FITS_FILES):
        if _begins_as_cvat(context, entry):
            return f"{entry.path} has the annotations of an export of CVAT"
    return None


def _files(context: SourceContext) -> list[Path]:
    """Return the XML files to read."""
    if context.input_file is not None:
        return [context.input_file]
    files = list(context.files_ending(_XML))
    known = [entry for entry in files if entry.path.rpartition("/")[2].lower() == _KNOWN_NAME]
    known = known or [entry for entry in files if _begins_as_cvat(context, entry)]
    if not known and len(files) != 1:
        shown = f"{len(files)} other .xml files" if files else "no .xml file"
        raise UsageError(
            f"{context.shown}: expected {_KNOWN_NAME} of an export 'CVAT for images 1.1', found {shown}. "
            "Give the file itself as INPUT"
        )
    return [context.root / os.fsdecode(entry.raw) for entry in known or files]


def _begins_as_cvat(context: SourceContext, entry: FileEntry) -> bool:
    head = context.read_head(entry, 4096)
    return b"<annotations>" in head and (b"<meta>" in head or b"<image " in head)


def _gather(
    context: SourceContext,
    gathered: Gathered,
    reader: CvatReader,
    file: Path,
    at: int,
    label_map: LabelMap | None,
    used: set[str],
) -> None:
    """Add the images of a file to what was gathered, and their classes to `used`."""
    names = Names(context, file)
    list_split = None
    if context.input_file is None:
        list_split = split_of_list(context, file.relative_to(context.root).as_posix())
    images = 0
    try:
        for images, image in enumerate(reader.images(), start=1):
            where = f"{file.name}, image {image.number}"
            key = f"{at} {images}"
            split = context.split_named(image.subset) if image.subset else list_split
            found = names.find(image.name, split) if image.name else "no file name"
            if split is None and isinstance(found, FileEntry):
                split = split_of_folders(context, found.path)
            gathered.add_image(key, image.name or where, found, split, image.size, where)
            if image.problem:
                gathered.spoil(key, f"{image.problem} ({where})")
            for box in image.boxes:
                used.add(box.label)
                name = box.label if label_map is None else label_map.named(box.label, where)
                gathered.add_box(key, Box(name, *box.sides))
    except CvatError as error:
        raise DataRefusedError(f"{file}, {error}. Export it again, or correct it") from error
    context.announce(images)
