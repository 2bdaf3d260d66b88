"""TFRecord files with the features of the data contract, gzipped or not: checked, and written as shards anew.

Read are `image/encoded` and the class: `image/class/text`, or `image/class/label` where no record has a text
(the class is then called by its number), and `image/filename`. Labels keep their order; they become 0, 1 and
so on, so that those of ImageNet, which begin with 1, are right too. The other features are made anew from the
image.

Records with `image/object/class/text` or `image/object/class/label` are for detection, those of the Object
Detection API among them: components.ingest.sources.tfrecord_boxes. The first record that has a class or boxes
tells for all.

A file's split is the first word of its name that is a split's (train-00000-of-00010,
validation_3.tfrec, pascal_train.record), or else by its folder. Its checksums are checked, so a file that was
cut off or damaged is refused, never read in part.
"""

from __future__ import annotations

import gzip
import itertools
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from components.base.errors import DataRefusedError, UsageError
from components.base.example import parse_example, type_problem
from components.base.tfrecord import (
    DATA_OFFSET_BYTES,
    GZIP_ERRORS,
    OVERHEAD_BYTES,
    begins_like_records,
    iterate_records,
)
from components.ingest.archive import MAX_EXPANSION, MIN_EXPANDED_BYTES
from components.ingest.files import IMAGE_ENDINGS, FileEntry, decode_name, label_of
from components.ingest.item import Found, Item, LeftOut, Reject
from components.ingest.left_out import no_image_reason
from components.ingest.sources import tfrecord_boxes
from components.ingest.sources.context import SourceContext
from components.ingest.sources.tfrecord_classes import Classes
from components.ingest.truth import Boxes, Label, Labels, Truth, truth_of
from schemas import features

_LETTERS = re.compile(r"[A-Za-z]+")
_GZIP_MAGIC = b"\x1f\x8b"
_COPY_BYTES = 1 << 20
_LABEL_TYPES = {
    name: features.TYPES[name]
    for name in (features.ENCODED, features.FILENAME, features.LABEL, features.LABEL_TEXT)
}
# What should be TFRecord by its name: it is rejected where it is not. Notes next to them are left out.
_ENDINGS = (".tfrecord", ".tfrecords", ".tfrec", ".record")


def find(context: SourceContext) -> Iterator[Found]:
    """Yield one item per record; records without an image or class are rejects.

    Raises:
        UsageError: INPUT holds no TFRecord file.
        DataRefusedError: A file is damaged, or labels and class names contradict each other.
    """
    read = None
    files = 0
    for entry in _entries(context):
        if entry.problem:
            yield Reject(entry.path, entry.problem)
            continue
        file = _readable(context, entry, files)
        if file is None:
            reason = _note_reason(entry.path.rpartition("/")[2].lower())
            yield LeftOut(entry.path, reason) if reason else Reject(entry.path, "not a TFRecord file")
            continue
        files += 1
        split = _split(context, entry.path)
        position = 0
        with file.open("rb") as opened:
            for number, record in enumerate(iterate_records(opened, f"{context.shown}: {entry.path}")):
                where = f"{entry.path}#{number}"
                read = read or _reader(context, record)
                found = (read or _first_reader(context)).read(record, where)
                if isinstance(found, Reject):
                    yield found
                else:
                    path, encoded, truth = found
                    yield Item(
                        path=path,
                        file=os.fsencode(file),
                        offset=position + DATA_OFFSET_BYTES + record.index(encoded),
                        size_bytes=len(encoded),
                        truth=truth,
                        split=split,
                    )
                position += len(record) + OVERHEAD_BYTES
    if not files:
        raise UsageError(
            f"{context.shown}: no TFRecord file in it (names like train-00000-of-00010 or train.tfrecord, "
            "gzipped or not)"
        )
    if read is not None and (names := read.classes.in_order()):
        context.index.set_class_names(names)


def fits(context: SourceContext) -> str | None:
    """Return the first file that begins as TFRecord files do; None where none does."""
    for entry in _entries(context):
        name = entry.path.rpartition("/")[2].lower()
        is_other = name.endswith(IMAGE_ENDINGS) or no_image_reason(name)
        if is_other and not name.removesuffix(".gz").endswith(_ENDINGS):
            continue
        head = context.read_head(entry, 64)
        packed = head.startswith(_GZIP_MAGIC) and name.removesuffix(".gz").endswith(_ENDINGS)
        if packed or begins_like_records(head):
            return f"{entry.path} is a TFRecord file"
    return None


def _entries(context: SourceContext) -> Iterator[FileEntry]:
    for entry in context.index.files:
        if context.input_file is not None:
            if entry.path == context.input_file.relative_to(context.root).as_posix():
                yield entry
        else:
            yield entry


def _note_reason(name: str) -> str:
    """Return why a file is not a TFRecord by its name, such as labels.csv.gz; "" if it may be one."""
    name = name.removesuffix(".gz")
    return "" if name.endswith(_ENDINGS) else no_image_reason(name)


def _readable(context: SourceContext, entry: FileEntry, number: int) -> Path | None:
    """Return the file, unpacked into the scratch folder if it is gzipped; None if it holds no records."""
    path = Path(os.fsdecode(context.absolute(entry.raw)))
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        # One reject would stand for nobody knows how many records.
        raise DataRefusedError(
            f"{context.shown}: {entry.path}: cannot be read: {error.strerror}; give yourself access, or "
            "remove it"
        ) from error
    if begins_like_records(head) or not head:
        return path
    if not head.startswith(_GZIP_MAGIC):
        return None
    unpacked = context.scratch / f"tfrecord-{number}"
    left = max(MIN_EXPANDED_BYTES, MAX_EXPANSION * entry.size_bytes)
    try:
        with gzip.open(path) as packed, unpacked.open("wb") as out:
            while data := packed.read(_COPY_BYTES):
                left -= len(data)
                if left < 0 or (out.tell() == 0 and not begins_like_records(data)):
                    return None
                out.write(data)
    except GZIP_ERRORS as error:
        raise DataRefusedError(
            f"{context.shown}: {entry.path}: cut off or damaged, it does not unpack to its end ({error}); "
            "get it again"
        ) from error
    return unpacked


def _split(context: SourceContext, path: str) -> str | None:
    *folders, name = path.split("/")
    split = next(filter(None, map(context.split_named, _LETTERS.findall(name))), None)
    return split or (context.split_named(folders[-1]) if folders else None)


# `image/filename`, the encoded image, what is known of it.
_Found = tuple[str, bytes, Truth]


def _reader(context: SourceContext, record: bytes) -> _Reader | None:
    """Return what reads records like this one; None where the record does not tell."""
    try:
        kind = truth_of(parse_example(record))
        if kind is Label and context.config.multilabel:
            kind = Labels
    except DecodeError:
        return None
    return None if kind is None else _READERS[kind](context)


def _first_reader(context: SourceContext) -> _Reader:
    """Return what reads records before one tells of which kind they are."""
    return (_Labels if context.config.multilabel else _Label)(context)


class _Label:
    """Reads records with one class each."""

    def __init__(self, context: SourceContext) -> None:
        self.classes = Classes(features.LABEL, features.LABEL_TEXT)

    def read(self, record: bytes, where: str) -> _Found | Reject:
        values = _image(record, where, _LABEL_TYPES)
        if isinstance(values, Reject):
            return values
        for feature in (features.LABEL, features.LABEL_TEXT):
            if len(values.get(feature, [])) > 1:
                return Reject(where, f"{feature}: expected one value, got {len(values[feature])}")
        text = label_of(decode_name(_one(values, features.LABEL_TEXT) or b""))
        name = self.classes.name(_one(values, features.LABEL), text, where)
        return name if isinstance(name, Reject) else (*_read_name_and_image(values, where), Label(name))


class _Labels:
    """Reads records with lists of classes."""

    def __init__(self, context: SourceContext) -> None:
        self.classes = Classes(features.LABEL, features.LABEL_TEXT)

    def read(self, record: bytes, where: str) -> _Found | Reject:
        values = _image(record, where, _LABEL_TYPES)
        if isinstance(values, Reject):
            return values
        labels, texts = values.get(features.LABEL, []), values.get(features.LABEL_TEXT, [])
        if labels and texts and len(labels) != len(texts):
            return Reject(
                where, f"{features.LABEL} has {len(labels)} values, and {features.LABEL_TEXT} {len(texts)}"
            )
        names = []
        for label, text in itertools.zip_longest(labels, texts):
            name = self.classes.name(label, label_of(decode_name(text or b"")), where)
            if isinstance(name, Reject):
                return name
            names.append(name)
        return *_read_name_and_image(values, where), Labels(tuple(names))


class _Boxes:
    """Reads records with boxes."""

    def __init__(self, context: SourceContext) -> None:
        self._in_shares = context.in_shares(usual=True)
        self.classes = Classes(features.BOX_LABEL, features.BOX_TEXT)
        self._label_map = context.label_map()

    def read(self, record: bytes, where: str) -> _Found | Reject:
        values = _image(record, where, tfrecord_boxes.TYPES)
        if isinstance(values, Reject):
            return values
        boxes = tfrecord_boxes.read_boxes(
            values, where, self._label_map, self.classes.name, in_shares=self._in_shares
        )
        return boxes if isinstance(boxes, Reject) else (*_read_name_and_image(values, where), boxes)


_Reader = _Label | _Labels | _Boxes
_READERS: Mapping[type[Truth], type[_Reader]] = {Label: _Label, Labels: _Labels, Boxes: _Boxes}


def _image(record: bytes, where: str, types: Mapping[str, str]) -> dict[str, list[Any]] | Reject:
    """Return the features of a record that has an image and whose features have these types."""
    try:
        values = parse_example(record)
    except DecodeError:
        return Reject(where, "not a tf.train.Example")
    if problem := type_problem(values, types):
        return Reject(where, problem)
    return values if _one(values, features.ENCODED) else Reject(where, f"no {features.ENCODED}")


def _read_name_and_image(values: dict[str, list[Any]], where: str) -> tuple[str, bytes]:
    name = decode_name(_one(values, features.FILENAME) or b"") or where
    return name, _one(values, features.ENCODED)


def _one(values: dict[str, list[Any]], feature: str) -> Any:
    """Return the feature's only value, None if it has none or several."""
    entries = values.get(feature, [])
    return entries[0] if len(entries) == 1 else None
