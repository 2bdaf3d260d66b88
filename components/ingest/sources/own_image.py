"""Finds the image of an annotation file that is about one image, as those of Pascal VOC and LabelMe are.

It has the file's name, or else is named in the file, and is in the same folder; else in the nearest folder
above, or one below that. So files that were renamed together stay together.
"""

import dataclasses
import functools

from components.ingest.files import FileEntry
from components.ingest.item import Item
from components.ingest.label_map import LabelMap
from components.ingest.left_out import no_image_reason
from components.ingest.sources.context import SourceContext
from components.ingest.sources.lookup import split_of_folders
from components.ingest.truth import Boxes

# Folders of the VOC challenges' other tasks, in lower case: images of an image's segments.
MASKS = ("segmentationclass", "segmentationobject")


def find_image(context: SourceContext, annotation: str, filename: str) -> FileEntry | str:
    """Return the image that an annotation file, which calls it `filename`, is about, or why there is none.

    Args:
        context: The source's.
        annotation: The path of the file, relative to the input.
        filename: A name or a path; "" if the file does not tell.
    """
    folder, _, name = f"/{annotation}".rpartition("/")
    stem = name.rpartition(".")[0]
    called = filename.replace("\\", "/").rpartition("/")[2]
    split = split_of_folders(context, annotation)
    above, only_itself = f"{folder}/", True
    # Most images are next to their file: those of its name in all other folders may be many.
    tiers = _candidates(context, stem, called, [part for part in folder.split("/") if part])
    while True:
        for candidates in tiers:
            images = {
                path: entry
                for path, entry in candidates.items()
                if f"/{path}".startswith(above)
                and not (only_itself and "/" in f"/{path}"[len(above) :])
                and _may_be_image(context, entry, annotation, split)
            }
            if len(images) > 1:
                # Of several endings the file itself says which.
                images = {path: one for path, one in images.items() if path.endswith(called)} or images
            if len(images) == 1:
                return next(iter(images.values()))
            if images:
                one, other, *_ = images
                return f"ambiguous: {len(images)} files may be its image, {one} and {other} among them"
        if only_itself:
            only_itself = False
            tiers = _candidates(context, stem, called, None)
        elif above == "/":
            return f"there is no image {stem}.*" + (f" and no {called}" if called else "")
        else:
            above = above[: above.rindex("/", 0, -1) + 1]


def claim_image(context: SourceContext, annotation: str, found: FileEntry | str) -> FileEntry | str:
    """Return an image that was found, or why it cannot be used: another annotation file has told of it."""
    if isinstance(found, FileEntry) and not context.index.use(found.path):
        ending = annotation.rpartition(".")[2].lower()
        return f"its image, {found.path}, has the boxes of another .{ending} file already"
    return found


def make_item(
    context: SourceContext,
    annotation: str,
    image: FileEntry,
    boxes: Boxes,
    label_map: LabelMap | None,
    split: str | None = None,
) -> Item:
    """Return the item of an image with the boxes of its annotation file.

    Args:
        context: The source's.
        annotation: The path of the file, relative to the input.
        image: The image.
        boxes: In pixels, unless the user says otherwise.
        label_map: Names the classes, if there is one.
        split: The image's; that of its folders if None.

    Raises:
        DataRefusedError: The label map does not have a class.
    """
    boxes = dataclasses.replace(boxes, in_shares=context.in_shares(usual=False))
    if label_map is not None:
        boxes = label_map.apply(boxes, f"{context.shown}: {annotation}")
    return context.item(image, boxes, split or split_of_folders(context, image.path))


def _candidates(
    context: SourceContext, stem: str, called: str, folders: list[str] | None
) -> list[dict[str, FileEntry]]:
    """Return the files of an annotation's name and those that it names, in one folder or (None) anywhere."""
    find = functools.partial(context.index.files.find, folders=folders or (), is_whole=folders is not None)
    named = [*find(called), *find(called, any_ending=True)] if called else []
    return [{entry.path: entry for entry in found} for found in (find(stem, any_ending=True), named)]


def _may_be_image(context: SourceContext, entry: FileEntry, annotation: str, split: str | None) -> bool:
    """Return whether a file is an image of this split without an annotation file of its own."""
    *folders, name = entry.path.lower().split("/")
    if no_image_reason(name) or any(folder in MASKS for folder in folders):
        return False
    stem, (annotated, dot, ending) = entry.path.rpartition(".")[0], annotation.rpartition(".")
    if stem == annotated:
        return True
    *inner, own = f"{stem}{dot}{ending}".split("/")
    if any(context.index.files.find(own, inner, is_whole=True)):
        return False
    return split is None or split_of_folders(context, entry.path) in (split, None)
