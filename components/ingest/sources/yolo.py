"""YOLO: a text file with the boxes of each image, and a YAML file that names classes and splits.

    data.yaml, images/train/1.jpg, labels/train/1.txt, images/val/..., labels/val/...
    data.yaml, train/images/1.jpg, train/labels/1.txt, valid/images/..., valid/labels/...
    classes.txt, images/1.jpg, labels/1.txt
    obj.data, obj.names, train.txt, obj_train_data/1.jpg, obj_train_data/1.txt

The label file of an image is where its path has `labels` for the last folder `images`, else in a folder
`labels` next to the image, else next to the image. An image without one, or with an empty one, is background.

Which split an image is in, `train`, `val` and `test` of data.yaml say, or `train` and `valid` of obj.data: a
folder, a list of images, or more; parts of a path that are not in INPUT are passed over from the left. What
they do not name goes by the names of its folders. The classes are those that a box is of, in the order of
their numbers, numbered anew from 1.

INPUT is the folder, or the YAML file.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from components.base.errors import DataRefusedError, UsageError
from components.ingest.files import FileEntry
from components.ingest.index import Index
from components.ingest.item import Found, LeftOut, Reject
from components.ingest.left_out import no_image_reason
from components.ingest.sources.context import SourceContext
from components.ingest.sources.lookup import split_of_folders
from components.ingest.sources.shapes import ShapeCounts
from components.ingest.sources.yolo_config import YoloConfig, read_config
from components.ingest.sources.yolo_labels import LabelError, read_labels
from components.ingest.sources.yolo_splits import SplitsOfConfig
from components.ingest.truth import Boxes

_IMAGES, _LABELS, _SUFFIX = "images", "labels", ".txt"
# A guess looks at this many images for a text file with their boxes.
_FITS_IMAGES = 100


def looks_like_yolo(index: Index) -> bool:
    """Return whether there are folders `images` with images and `labels` with texts."""
    has_images = has_labels = False
    for entry in index.files:
        *folders, name = entry.path.lower().split("/")
        has_images = has_images or (_IMAGES in folders and not no_image_reason(name))
        has_labels = has_labels or (_LABELS in folders and name.endswith(_SUFFIX))
    return has_images and has_labels


def find(context: SourceContext) -> Iterator[Found]:
    """Yield one item per image; rejects are images with a bad label file, and label files without an image.

    Raises:
        UsageError: INPUT holds no such data.
        DataRefusedError: What describes the data is damaged or contradicts itself.
    """
    config = read_config(context)
    label_map = context.label_map() if context.config.label_map is not None else None
    names = config.names
    if names is None and label_map is not None:
        names = dict(enumerate(label_map.class_names()))
    splits = SplitsOfConfig(context, config)
    yield from splits.rejects
    in_images = any(_IMAGES in _folders(entry) for entry in context.index.files)
    used: dict[int, str] = {}
    shapes = ShapeCounts()
    files = images = labels = 0
    no_labels = {*config.files, *splits.lists}
    for entry in context.index.files:
        files += 1
        name = entry.path.rpartition("/")[2]
        if entry.path in no_labels:
            continue
        if reason := no_image_reason(name):
            if not name.lower().endswith(_SUFFIX):
                yield LeftOut(entry.path, reason)
            continue
        images += 1
        if in_images and _IMAGES not in _folders(entry):
            yield Reject(entry.path, "unlabelled: lies outside every folder called images")
            continue
        if (split := splits.of(entry.path)) is None:
            yield LeftOut(entry.path, f"outside of what {config.files[0]} names as splits")
            continue
        label_file = _label_file(context.index, entry.path)
        if label_file is not None and label_file.path in no_labels:
            label_file = None
        labels += label_file is not None
        found = _image(context, entry, label_file, config, names, used, shapes)
        if isinstance(found, Boxes):
            if label_map is not None:
                found = label_map.apply(found, f"{context.shown}: {entry.path}")
            yield context.item(entry, found, split or split_of_folders(context, entry.path))
        else:
            yield Reject(entry.path, found)
    if not labels:
        raise UsageError(
            f"{context.shown}: expected images with a label file each, images/1.jpg and labels/1.txt, got "
            f"{images} images and none that has one; is it data of another source than yolo?"
        )
    yield from _texts_of_no_image(context, no_labels)
    shapes.warn(context.index)
    read = len(no_labels) + context.index.count_used()
    context.announce(files - read + len(splits.rejects))
    if label_map is None:
        context.index.set_class_names(used[key] for key in sorted(used))


def fits(context: SourceContext) -> str | None:
    """Return what describes the data, or a text file with boxes that an image has; None without either."""
    try:
        config = read_config(context)
    except (UsageError, DataRefusedError):
        config = YoloConfig()
    if config.splits and config.names is not None:
        return f"{config.files[0]} names classes and splits"
    if looks_like_yolo(context.index):
        return f"it has folders {_IMAGES} and {_LABELS}, with a text for each image"
    looked_at = 0
    for entry in context.index.files:
        if no_image_reason(entry.path.rpartition("/")[2]) or looked_at == _FITS_IMAGES:
            continue
        looked_at += 1
        if (label_file := _label_file(context.index, entry.path)) is not None:
            path = Path(os.fsdecode(context.absolute(label_file.raw)))
            with contextlib.suppress(LabelError):
                if next(read_labels(path, None, ShapeCounts(), has_key_points=False), None) is not None:
                    return f"{label_file.path} has boxes of {entry.path}"
    return None


def _image(
    context: SourceContext,
    entry: FileEntry,
    label_file: FileEntry | None,
    config: YoloConfig,
    names: dict[int, str] | None,
    used: dict[int, str],
    shapes: ShapeCounts,
) -> Boxes | str:
    """Return the boxes of an image, or why it cannot be used."""
    if entry.problem:
        return entry.problem
    in_shares = context.in_shares(usual=True)
    if label_file is None:
        return Boxes(in_shares=in_shares)
    if not context.index.use(label_file.path):
        return f"ambiguous: {label_file.path} is the label file of another image already"
    if label_file.problem:
        return f"{label_file.path}: {label_file.problem}"
    path = Path(os.fsdecode(context.absolute(label_file.raw)))
    try:
        objects = list(read_labels(path, names, shapes, has_key_points=config.has_key_points))
    except LabelError as error:
        return f"{label_file.path}: {error}"
    used.update({key: box.label for key, box in objects})
    return Boxes(tuple(box for _, box in objects), in_shares=in_shares)


def _texts_of_no_image(context: SourceContext, no_labels: set[str]) -> Iterator[Found]:
    """Label files that no image has, and other texts."""
    for entry in context.index.files:
        name = entry.path.rpartition("/")[2]
        if (
            name.lower().endswith(_SUFFIX)
            and entry.path not in no_labels
            and not context.index.is_used(entry.path)
        ):
            if _LABELS in _folders(entry):
                yield Reject(entry.path, entry.problem or "no image belongs to it")
            else:
                yield LeftOut(entry.path, no_image_reason(name))


def _label_file(index: Index, image: str) -> FileEntry | None:
    *folders, name = image.split("/")
    text = f"{name.rpartition('.')[0]}{_SUFFIX}"
    places = [[*folders, _LABELS], folders]
    lower = [folder.lower() for folder in folders]
    if _IMAGES in lower:
        at = len(lower) - 1 - lower[::-1].index(_IMAGES)
        places.insert(0, [*folders[:at], _LABELS, *folders[at + 1 :]])
        places.insert(1, [*folders[:at], _LABELS.capitalize(), *folders[at + 1 :]])
    for place in places:
        if entries := list(index.files.find(text, place, is_whole=True)):
            return entries[-1]
    return None


def _folders(entry: FileEntry) -> list[str]:
    return entry.path.lower().split("/")[:-1]
