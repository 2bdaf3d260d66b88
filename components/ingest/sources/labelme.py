"""LabelMe: a JSON file with the shapes of one image, next to it or in other folders.

    1.jpg, 1.json                                in one folder
    train/1.jpg, train/1.json, test/...          in folders with names of splits
    images/1.jpg, annotations/1.json             in folders next to each other
    1.json                                       with its image in it, where the image file is missing

An image belongs to a JSON file as for Pascal VOC (components.ingest.sources.own_image). An image without one
is unlabelled: a reject. Each object is a box: a rectangle, or the box round a polygon, circle or mask. A
file with another shape (point, line) is rejected, since its object would count as background.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from components.base.errors import UsageError
from components.base.words import format_count
from components.ingest.files import FileEntry
from components.ingest.item import Found, LeftOut, Reject
from components.ingest.label_map import LabelMap
from components.ingest.left_out import no_image_reason
from components.ingest.sources.class_order import order_by_list
from components.ingest.sources.context import FITS_FILES, SourceContext
from components.ingest.sources.labelme_json import LabelmeError, LabelmeFile, read_labelme
from components.ingest.sources.own_image import claim_image, find_image, make_item
from components.ingest.sources.shapes import ShapeCounts

_JSON = ".json"
# A guess looks for one of these words.
_OWN_WORDS = (b'"imagePath"', b'"shape_type"')


def find(context: SourceContext) -> Iterator[Found]:
    """Yield one item per JSON file; those that have no image, and images that have none, are rejects.

    Raises:
        UsageError: INPUT holds no JSON file of LabelMe.
        DataRefusedError: The label map does not have a class.
    """
    reader = _Reader(context)
    for entry in context.files_ending(_JSON):
        yield reader.read(entry)
    reader.conclude()
    for entry in context.index.files:
        name = entry.path.rpartition("/")[2].lower()
        if reason := no_image_reason(name):
            if not name.endswith((_JSON, ".pbtxt")) and not context.index.is_used(entry.path):
                yield LeftOut(entry.path, reason)
        elif not context.index.is_used(entry.path):
            yield Reject(entry.path, entry.problem or "unlabelled: no .json file belongs to it")


def fits(context: SourceContext) -> str | None:
    """Return the first JSON file that begins as LabelMe's do; None where none does."""
    for entry in context.files_ending(_JSON, FITS_FILES):
        head = context.read_head(entry)
        if b'"shapes"' in head and any(word in head for word in _OWN_WORDS):
            return f"{entry.path} has the shapes of one image"
    return None


class _Reader:
    """Reads the JSON files one after the other."""

    def __init__(self, context: SourceContext) -> None:
        self._context = context
        self._label_map: LabelMap | None = context.label_map()
        self._shapes = ShapeCounts()
        self._used: set[str] = set()
        self._files = self._grouped = self._embedded = 0

    def read(self, entry: FileEntry) -> Found:
        """Return the image of a JSON file, or why it cannot be used."""
        labelme: LabelmeFile | None = None
        problem = entry.problem
        if not problem:
            try:
                labelme = read_labelme(Path(os.fsdecode(self._context.absolute(entry.raw))))
            except LabelmeError as error:
                problem = str(error)
            else:
                if labelme is None:
                    return LeftOut(entry.path, "no annotation of LabelMe: it has no shapes")
        self._files += 1
        image = find_image(self._context, entry.path, labelme.image_path if labelme is not None else "")
        if isinstance(image, str) and labelme is not None and labelme.image_data:
            try:
                image = self._unpack(entry, labelme)
            except LabelmeError as error:
                image = str(error)
        else:
            image = claim_image(self._context, entry.path, image)
        if isinstance(image, str):
            return Reject(entry.path, problem or image)
        if labelme is None:
            return Reject(entry.path, problem)
        if image.problem:
            return Reject(image.path, image.problem)
        for kind in labelme.kinds:
            self._shapes.note(kind)
        self._grouped += labelme.grouped
        item = make_item(self._context, entry.path, image, labelme.annotation, self._label_map)
        self._used.update(item.truth.classes)
        return item

    def conclude(self) -> None:
        """Say what is to be known of all files."""
        if not self._files:
            raise UsageError(
                f"{self._context.shown}: no .json file of LabelMe in it. The source labelme reads images "
                "with a JSON file each, next to them or in another folder"
            )
        self._shapes.warn(self._context.index)
        if self._label_map is None:
            order_by_list(self._context, self._used)
        if self._grouped:
            self._context.index.warn(
                f"{format_count(self._grouped, 'shape')} with the label and group of another one: read as "
                "part of the same object."
            )
        if self._embedded:
            missing = format_count(self._embedded, "image file is", "image files are")
            self._context.index.warn(f"{missing} missing: the image in the .json file (imageData) was read.")

    def _unpack(self, entry: FileEntry, labelme: LabelmeFile) -> FileEntry:
        """Return the image in a JSON file, as a file in the scratch folder."""
        data = labelme.image()
        self._embedded += 1
        file = self._context.scratch / f"labelme-{self._embedded}"
        file.write_bytes(data)
        ending = os.path.splitext(labelme.image_path.replace("\\", "/").rpartition("/")[2])[1]
        path = f"{entry.path[: -len(_JSON)]}{ending}"
        # An absolute path stays as it is where the input's folder is put before it.
        return FileEntry(path, os.fsencode(file), len(data), entry.stamp)
