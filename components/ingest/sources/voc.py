"""Pascal VOC: an XML file with the boxes of one image, next to it or in other folders.

    cat.12.jpg, cat.12.xml                                    in one folder
    train/cat.12.jpg, train/cat.12.xml, test/...              in folders with names of splits
    images/cat.12.jpg, annotations/xmls/cat.12.xml            in folders next to each other
    VOC2012/JPEGImages, Annotations, ImageSets/Main/*.txt     as the VOC challenges have it

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/index.html#SECTION00092000000000000000

An image belongs to an XML file that has its name, or else names it (`filename`), and is in the same
folder; else in the nearest folder above, or one below that. So files that were renamed together stay
together. Where there are lists in ImageSets/Main, they tell the splits, and what is in none of them is left
out. Otherwise the folders do, and an image without an XML file is unlabelled: a reject.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from components.base.errors import UsageError
from components.ingest.files import FileEntry
from components.ingest.item import Found, Item, LeftOut, Reject
from components.ingest.label_map import LabelMap
from components.ingest.left_out import no_image_reason
from components.ingest.sources.class_order import order_by_list
from components.ingest.sources.context import FITS_FILES, SourceContext
from components.ingest.sources.own_image import MASKS, claim_image, find_image, make_item
from components.ingest.sources.shapes import ShapeCounts
from components.ingest.sources.voc_sets import ImageSets
from components.ingest.sources.voc_xml import VocError, VocFile, read_voc

_XML = ".xml"
# What is no image and is read nevertheless: annotations, label maps, lists of splits.
_READ, _LISTS = (_XML, ".pbtxt"), "imagesets"
# A guess looks for this element.
_ROOT = re.compile(rb"<annotation[\s>]")


def find(context: SourceContext) -> Iterator[Found]:
    """Yield one item per XML file and split; XML files and images that have no other half are rejects.

    Raises:
        UsageError: INPUT holds no XML file.
        DataRefusedError: The label map does not have a class.
    """
    label_map = context.label_map()
    sets = ImageSets(context)
    annotations = 0
    shapes = ShapeCounts()
    used: set[str] = set()
    for entry in context.files_ending(_XML):
        annotations += 1
        for found in _annotated(context, sets, label_map, entry, shapes):
            if isinstance(found, Item):
                used.update(found.truth.classes)
            yield found
    shapes.warn(context.index)
    if label_map is None:
        order_by_list(context, used)
    if not annotations:
        raise UsageError(
            f"{context.shown}: no .xml file in it. The source voc reads images with a Pascal VOC XML each, "
            "next to them or in a folder Annotations"
        )
    for entry in context.index.files:
        path = entry.path.lower()
        *folders, name = path.split("/")
        if reason := no_image_reason(name):
            is_read = name.endswith(_READ) or _LISTS in folders or context.index.is_used(entry.path)
            if not is_read:
                yield LeftOut(entry.path, reason)
            continue
        if any(folder in MASKS for folder in folders):
            continue
        if not context.index.is_used(entry.path) and not sets.cover(entry.path):
            yield Reject(entry.path, entry.problem or "unlabelled: no .xml file belongs to it")
    yield from sets.rejects()


def fits(context: SourceContext) -> str | None:
    """Return the first XML file that begins as Pascal VOC's do; None where none does."""
    for entry in context.files_ending(_XML, FITS_FILES):
        if _ROOT.search(context.read_head(entry, 4096)):
            return f"{entry.path} is an <annotation> of one image"
    return None


def _annotated(
    context: SourceContext, sets: ImageSets, label_map: LabelMap | None, entry: FileEntry, shapes: ShapeCounts
) -> Iterator[Item | Reject]:
    """Yield the image of an XML file, once for every split that it is in."""
    splits = sets.splits(entry.path)
    if splits is None:
        return
    voc: VocFile | None = None
    problem = entry.problem
    if not problem:
        try:
            voc = read_voc(Path(os.fsdecode(context.absolute(entry.raw))))
        except VocError as error:
            problem = str(error)
    called = voc.filename if voc is not None else ""
    image = claim_image(context, entry.path, find_image(context, entry.path, called))
    if isinstance(image, str):
        yield Reject(entry.path, problem or image)
    elif voc is None:
        yield Reject(entry.path, problem)
    elif image.problem:
        yield Reject(image.path, image.problem)
    else:
        for kind in voc.kinds:
            shapes.note(kind)
        for split in splits or (None,):
            yield make_item(context, entry.path, image, voc.annotation, label_map, split)
