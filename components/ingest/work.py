"""What the worker processes do: hash sources, and write shards."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.base.errors import MiranteError
from components.base.os_errors import explain_os_error
from components.base.paths import replace_file, write_atomically
from components.base.printable import printable
from components.ingest.bit_depth import Depths
from components.ingest.item import shape_from, shape_text
from components.ingest.truth import TRUTHS
from components.ingest.truth.counts import BoxCounts
from components.ingest.truth.truth import WrongImageError
from schemas import features

# How often a worker tells how far it is.
_REPORT_EVERY_IMAGES = 50

# What is wrong with the machine, and so with all files.
_NOT_THE_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

# The file with many images that was read last, and its descriptor.
_open_file: dict[bytes, int] = {}


class SourceChangedError(MiranteError):
    """A file is not what it was when it was hashed."""


HashTask = tuple[int, bytes, int | None, int, str | None]


@dataclasses.dataclass(frozen=True)
class PartTask:
    """Records of a shard to write into a file.

    Attributes:
        index: The SQLite index.
        task: See Manifest.
        split, shard: Which shard.
        first, count: Which of its records, in the shard's order.
        target: The file; it is written under another name and renamed when complete.
        class_names: In the order of their labels.
        max_pixels, resize_px, bit_depth: See IngestConfig.
    """

    index: str
    task: str
    split: str
    shard: int
    first: int
    count: int
    target: str
    class_names: tuple[str, ...]
    max_pixels: int
    resize_px: int | None
    bit_depth: str


@dataclasses.dataclass(frozen=True)
class PartResult:
    """The written part of a shard.

    Attributes:
        records, bytes, sha256: Of the file.
        rejected: (path, reason, SHA-256 of the source) of images that could not be used.
        boxes: Counts of boxes, as BoxCounts; None if the records have a class each.
        depths: Counts of images with 16 bits per channel, as Depths.
    """

    records: int
    bytes: int
    sha256: str
    rejected: list[tuple[str, ...]]
    boxes: dict[str, Any] | None = None
    depths: dict[str, Any] = dataclasses.field(default_factory=dict)


def hash_sources(tasks: list[HashTask], report: Callable[[int], None]) -> list[tuple[int, bytes | None, str]]:
    """Return (id, SHA-256 of the source, reason) for every (id, file, offset, size, shape).

    Of an encoded image it is that of the file's bytes, of raw pixels that of their shape and bytes. A file
    that cannot be read or is no image has None and the reason.
    """
    from components.ingest.image_file import read_image_file
    from components.ingest.kinds import sniff
    from components.ingest.whole import RejectedImage

    answers: list[tuple[int, bytes | None, str]] = []
    for key, file, offset, size, shape in tasks:
        report(0)
        try:
            if offset is None and shape is None:
                data = read_image_file(file)
            else:
                data = _read(file, offset, size)
            if shape is None:
                sniff(data)
        except OSError as error:
            if error.errno in _NOT_THE_FILES:
                raise
            answers.append((key, None, f"cannot be read: {error.strerror}"))
        except RejectedImage as error:
            answers.append((key, None, error.reason))
        else:
            answers.append((key, _source_sha256(data, shape), ""))
    return answers


def look_at(
    tasks: list[tuple[bytes, bytes]], max_pixels: int, report: Callable[[int], None]
) -> list[tuple[bytes, bytes | None]]:
    """Return (SHA-256, look) for every (SHA-256, file); None for an image without a look."""
    from components.ingest.image_file import read_image_file
    from components.ingest.looks import look_of
    from components.ingest.whole import RejectedImage

    answers: list[tuple[bytes, bytes | None]] = []
    for digest, file in tasks:
        report(0)
        try:
            answers.append((digest, look_of(read_image_file(file), max_pixels)))
        except (OSError, RejectedImage):
            answers.append((digest, None))  # the next pass gives the reason
    return answers


def write_part(task: PartTask, report: Callable[[int], None]) -> PartResult:
    """Write the records as TFRecord; every image is decoded, see components.ingest.canonical.

    Raises:
        SourceChangedError: A file is not what it was when it was hashed.
        MiranteError: The system does not let a file be read or written.
    """
    try:
        return _write_part(task, report)
    except OSError as error:
        # Here, and not where it ends up: how much is free is measured now.
        if explained := explain_os_error(error, [Path(task.target).parent]):
            raise explained from error
        raise


def _write_part(task: PartTask, report: Callable[[int], None]) -> PartResult:
    from components.base.example import serialize_example
    from components.base.tfrecord import frame_record
    from components.ingest.canonical import canonical_bytes, canonical_pixels
    from components.ingest.whole import RejectedImage

    truth = TRUTHS[task.task]
    labels = {name: label for label, name in enumerate(task.class_names, start=truth.first_label)}
    counts = BoxCounts()
    digest, size, records, since_report = hashlib.sha256(), 0, 0, 0
    rejected: list[tuple[str, ...]] = []
    depths = Depths()
    target = Path(task.target)
    with replace_file(target) as temporary, temporary.open("wb") as out:
        for path, file, offset, length, shape_words, text, expected in _planned(task):
            report(0)
            try:
                data = _read(file, offset, length)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                raise _changed(path, str(error.strerror)) from error
            if _source_sha256(data, shape_words) != expected:
                raise _changed(path, "its content is not what it was")
            shape = shape_from(shape_words)
            try:
                if shape is None:
                    image = canonical_bytes(
                        data,
                        max_pixels=task.max_pixels,
                        resize_px=task.resize_px,
                        bit_depth=task.bit_depth,
                    )
                else:
                    image = canonical_pixels(data, *shape, resize_px=task.resize_px)
                placed = truth.from_text(text).place(image.full_size, image.orientation)
            except (RejectedImage, WrongImageError) as error:
                rejected.append((path, str(error), expected.hex()))
                continue
            finally:
                since_report += 1
                if since_report >= _REPORT_EVERY_IMAGES:
                    report(since_report)
                    since_report = 0
            placed.count(path, counts)
            record = frame_record(
                serialize_example(
                    {
                        features.ENCODED: image.encoded,
                        features.FORMAT: image.format.encode(),
                        features.HEIGHT: image.height,
                        features.WIDTH: image.width,
                        features.FILENAME: path.encode(),
                        features.SHA256: hashlib.sha256(image.encoded).hexdigest().encode(),
                        **placed.record_features(labels),
                    }
                )
            )
            if image.largest is not None:
                depths = Depths.total([depths, Depths.of(path, image.largest, task.bit_depth)])
            out.write(record)
            digest.update(record)
            size += len(record)
            records += 1
        out.flush()
        os.fsync(out.fileno())
        report(since_report)
        result = PartResult(
            records,
            size,
            digest.hexdigest(),
            rejected,
            truth.counted(counts),
            dataclasses.asdict(depths),
        )
        write_note(target, result)
    return result


def write_note(target: Path, result: PartResult) -> None:
    """Write what is to be known of a complete file next to it, before it gets its name."""
    write_atomically(Path(f"{target}.json"), json.dumps(dataclasses.asdict(result)))


def _planned(task: PartTask) -> sqlite3.Cursor:
    db = sqlite3.connect(task.index)
    return db.execute(
        "SELECT path, file, offset, size, shape, truth, hash FROM items WHERE split = ? AND shard = ? "
        f"ORDER BY hash, path, {TRUTHS[task.task].order} LIMIT ? OFFSET ?",
        (task.split, task.shard, task.count, task.first),
    )


def _read(file: bytes, offset: int | None, size: int) -> bytes:
    if offset is None:
        with open(file, "rb") as source:
            return source.read()
    return os.pread(_opened(file), size, offset)


def _opened(file: bytes) -> int:
    """Return the descriptor of a file with many images: it stays open until another one is asked for."""
    if file not in _open_file:
        while _open_file:
            os.close(_open_file.popitem()[1])
        _open_file[file] = os.open(file, os.O_RDONLY)
    return _open_file[file]


def _source_sha256(data: bytes, shape: str | None) -> bytes:
    if shape is None:
        return hashlib.sha256(data).digest()
    return hashlib.sha256(f"uint8 {shape_text(shape_from(shape))} ".encode() + data).digest()


def _changed(path: str, why: str) -> SourceChangedError:
    return SourceChangedError(
        f"{printable(path)} changed while it was being ingested ({why}). Run the same command again"
    )
