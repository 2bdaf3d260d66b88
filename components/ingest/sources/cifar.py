"""CIFAR-10 and CIFAR-100 in the "python version": pickled batches.

Format: https://www.cs.toronto.edu/~kriz/cifar.html. CIFAR-10 has data_batch_1 .. 5, test_batch and
batches.meta; CIFAR-100 has train, test and meta, and its fine labels are the classes. A batch is a dict of
`data`, uint8 [N, 3072] (32 x 32 red values row by row, then green, then blue), `labels` or `fine_labels`, int
[N], and `filenames`, str [N]; the meta file has `label_names` or `fine_label_names`.

A pickle is a program: these are read by components.ingest.sources.cifar_pickle, which runs none.
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from components.base.errors import DataRefusedError, UsageError
from components.base.words import format_count
from components.ingest.files import FileEntry, decode_name, label_of
from components.ingest.item import Item, Reject
from components.ingest.sources.cifar_pickle import load_plain
from components.ingest.sources.context import SourceContext
from components.ingest.truth import Label
from schemas import features

_HEIGHT_PX = _WIDTH_PX = 32
_CHANNELS = 3
_SHAPE = (_HEIGHT_PX, _WIDTH_PX, _CHANNELS)
_IMAGE_BYTES = _HEIGHT_PX * _WIDTH_PX * _CHANNELS
# The largest of the official files, CIFAR-100's train, has 155 MB.
_MAX_FILE_BYTES = 1 << 30

_CIFAR10_BATCH = re.compile(r"^(data_batch_\d+|test_batch)$")
_META = {"batches.meta": "label_names", "meta": "fine_label_names"}
_LABELS = ("labels", "fine_labels")
_BINARY = "data_batch_1.bin"
_OTHER_NAMES = {*_META, features.TRAIN, features.TEST, _BINARY}


def find(context: SourceContext) -> Iterator[Item | Reject]:
    """Yield one item per image, `<batch>/<its file name>`; the classes are in the order of the meta file.

    Raises:
        UsageError: INPUT holds no such files, or several sets.
        DataRefusedError: A file is damaged, or a pickle of something else.
    """
    meta, batches = _files(context)
    class_names = _class_names(context, meta)
    context.index.set_class_names(class_names)
    for number, entry in enumerate(batches):
        values, shown = _load(context, entry)
        pixels, labels, names = _batch(values, shown, len(class_names))
        context.announce(len(pixels))
        images = pixels.reshape(-1, _CHANNELS, _HEIGHT_PX, _WIDTH_PX).transpose(0, 2, 3, 1)
        file = context.scratch / f"cifar-{number}.raw"
        file.write_bytes(images.tobytes())
        split = context.split_named(entry.path.rpartition("/")[2])
        if split is None:
            split = features.TEST if entry.path.endswith("test_batch") else features.TRAIN
        for row, label in enumerate(labels):
            yield Item(
                path=f"{entry.path}/{names[row]}" if names else f"{entry.path}#{row}",
                file=os.fsencode(file),
                offset=row * _IMAGE_BYTES,
                size_bytes=_IMAGE_BYTES,
                shape=_SHAPE,
                truth=Label(class_names[label]),
                split=split,
            )


def fits(context: SourceContext) -> str | None:
    """Return the batches and the file that names the classes, where both are there; else None."""
    for _, meta, batches in _sets(_folders(context)):
        if meta is not None:
            return f"it has {meta.path} and {format_count(batches, 'batch', 'batches')} of it"
    return None


def _folders(context: SourceContext) -> dict[str, dict[str, FileEntry]]:
    """Return the files of each folder that are called as those of CIFAR, by their names."""
    folders: dict[str, dict[str, FileEntry]] = {}
    for entry in context.index.files:
        folder, _, name = entry.path.rpartition("/")
        if name in _OTHER_NAMES or _CIFAR10_BATCH.match(name):
            folders.setdefault(folder, {})[name] = entry
    return folders


def _sets(
    folders: dict[str, dict[str, FileEntry]],
) -> Iterator[tuple[str, FileEntry | None, list[FileEntry]]]:
    """Yield each folder with batches: its meta file, if there is one, and the batches by their names."""
    for folder, files in folders.items():
        meta = next((files[name] for name in _META if name in files), None)
        batches = [entry for name, entry in sorted(files.items()) if _CIFAR10_BATCH.match(name)]
        if not batches and "meta" in files:
            batches = [files[name] for name in (features.TRAIN, features.TEST) if name in files]
        if batches:
            yield folder, meta, batches


def _files(context: SourceContext) -> tuple[FileEntry, list[FileEntry]]:
    """Return the meta file, and the batches in the order of their names."""
    folders = _folders(context)
    sets = []
    for folder, meta, batches in _sets(folders):
        if meta is None:
            wanted = f"{folder}/batches.meta".lstrip("/")
            raise DataRefusedError(
                f"{context.shown}: {wanted}, which names the classes, is missing; get it again"
            )
        sets.append((folder, meta, batches))
    if not sets:
        other = "" if not any(_BINARY in files for files in folders.values()) else (
            " These are the files of the binary version: get the python version."
        )  # fmt: skip
        raise UsageError(
            f"{context.shown}: no CIFAR batches in it. Expected data_batch_1, ..., test_batch and "
            f"batches.meta (CIFAR-10), or train, test and meta (CIFAR-100).{other}"
        )
    if len(sets) > 1:
        shown = ", ".join(folder or "." for folder, _, _ in sets)
        raise UsageError(f"{context.shown}: more than one CIFAR set in it ({shown}); give the one to read")
    return sets[0][1], sets[0][2]


def _class_names(context: SourceContext, meta: FileEntry) -> list[str]:
    values, shown = _load(context, meta)
    key = _META[meta.path.rpartition("/")[2]]
    names = values.get(key)
    if not isinstance(names, list) or not names:
        raise DataRefusedError(f"{shown}: no list {key!r} in it; it is no meta file of CIFAR. Get it again")
    if not all(isinstance(name, (bytes, str)) for name in names):
        raise DataRefusedError(f"{shown}: {key!r} must hold names, and holds something else. Get it again")
    return [label_of(_text(name)) for name in names]


def _batch(
    values: dict[str, Any], shown: str, classes: int
) -> tuple[npt.NDArray[np.uint8], Sequence[int], list[str]]:
    """Pixels uint8 [N, 3072], labels [N] and file names [N] (or none) of a batch, all checked."""
    pixels = values.get("data")
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (_IMAGE_BYTES,):
        what = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise DataRefusedError(
            f"{shown}: 'data' must be uint8 [N, {_IMAGE_BYTES}], it is {what}; it is no batch of CIFAR. "
            "Get it again"
        )
    labels = next((values[key] for key in _LABELS if key in values), None)
    if isinstance(labels, np.ndarray):
        labels = labels.ravel().tolist() if labels.dtype.kind in "iu" else None
    if not isinstance(labels, list) or len(labels) != len(pixels):
        many = len(labels) if isinstance(labels, list) else "no"
        raise DataRefusedError(f"{shown}: {len(pixels)} images and {many} labels. Get it again")
    labels = list(labels)
    for row, label in enumerate(labels):
        if not isinstance(label, (int, np.integer)) or not 0 <= label < classes:
            # What it is may be nested so deeply that to print it takes for ever.
            told = (
                int(label) if isinstance(label, (int, np.integer)) else f"of the kind {type(label).__name__}"
            )
            raise DataRefusedError(
                f"{shown}, row {row}: the label is {told}, the meta file has {classes} classes. "
                "Get both from the same place"
            )
    names = values.get("filenames")
    if not isinstance(names, list) or len(names) != len(pixels):
        return pixels, labels, []
    if not all(isinstance(name, (bytes, str)) for name in names):
        raise DataRefusedError(
            f"{shown}: 'filenames' must hold names, and holds something else. Get it again"
        )
    return pixels, labels, [_text(name) for name in names]


def _text(value: bytes | str) -> str:
    """A name as text that can be written as UTF-8."""
    return decode_name(value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass"))


def _load(context: SourceContext, entry: FileEntry) -> tuple[dict[str, Any], str]:
    """Return the dict that the file is a pickle of, keys as text; and what messages call the file."""
    shown = f"{context.shown}: {entry.path}"
    if entry.problem:
        raise DataRefusedError(f"{shown}: {entry.problem}")
    if entry.size_bytes > _MAX_FILE_BYTES:
        raise DataRefusedError(f"{shown}: {entry.size_bytes} bytes, no file of CIFAR is that large")
    data = Path(os.fsdecode(context.absolute(entry.raw))).read_bytes()
    if data.lstrip()[:1] == b"<":
        raise DataRefusedError(
            f"{shown}: a web page, not a pickle: the download was answered with it. Get it again"
        )
    try:
        values = load_plain(data)
    except DataRefusedError as error:
        raise DataRefusedError(f"{shown}: {error}") from error
    if not isinstance(values, dict):
        raise DataRefusedError(f"{shown}: a pickled {type(values).__name__}, no batch of CIFAR")
    return {_text(key): value for key, value in values.items() if isinstance(key, (bytes, str))}, shown
