"""Finds the image of an annotation file that is about one image, as those of Pascal VOC and LabelMe are.

It has the file's name, or else is named in the file, and is in the same folder; else in the nearest folder
above, or one below that. So files that were renamed together stay together.
"""

from __future__ import annotations

from components.ingest.files import FileEntry
from components.ingest.left_out import no_image_reason
from components.ingest.sources.context import SourceContext
from components.ingest.sources.lookup import split_of_folders

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
    index = context.index
    named = [*index.files.find_named(called), *index.files.find_by_stem(called)] if called else []
    tiers = [{entry.path: entry for entry in found} for found in (index.files.find_by_stem(stem), named)]
    above, only_itself = f"{folder}/", True
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
        elif above == "/":
            return f"there is no image {stem}.*" + (f" and no {called}" if called else "")
        else:
            above = above[: above.rindex("/", 0, -1) + 1]


def _may_be_image(context: SourceContext, entry: FileEntry, annotation: str, split: str | None) -> bool:
    """Return whether a file is an image of this split without an annotation file of its own."""
    *folders, name = entry.path.lower().split("/")
    if no_image_reason(name) or any(folder in MASKS for folder in folders):
        return False
    stem, (annotated, dot, ending) = entry.path.rpartition(".")[0], annotation.rpartition(".")
    if stem == annotated:
        return True
    if context.index.files.find_path(stem + dot + ending):
        return False
    return split is None or split_of_folders(context, entry.path) in (split, None)
