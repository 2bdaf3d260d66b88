"""The last work of worker processes: write shards."""

import dataclasses
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
from components.ingest.examine import kept_image
from components.ingest.item import shape_from
from components.ingest.reading import hash_source, read_source
from components.ingest.truth import TRUTHS
from components.ingest.truth.counts import BoxCounts
from components.ingest.truth.truth import WrongImageError
from schemas import features

# How often a worker tells how far it is.
_REPORT_EVERY_IMAGES = 50


class SourceChangedError(MiranteError):
    """A file is not what it was when it was hashed."""


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


def write_part(task: PartTask, report: Callable[[int], None]) -> PartResult:
    """Write the records as TFRecord; an image that does not keep its bytes is decoded and rewritten.

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
        for path, file, offset, length, shape_words, text, expected, form in _planned(task):
            report(0)
            try:
                data = read_source(file, offset, length)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                raise _changed(path, str(error.strerror)) from error
            if hash_source(data, shape_words) != expected:
                raise _changed(path, "its content is not what it was")
            shape = shape_from(shape_words)
            try:
                if form is not None:
                    image = kept_image(data, form)
                elif shape is None:
                    image = canonical_bytes(
                        data, max_pixels=task.max_pixels, resize_px=task.resize_px, bit_depth=task.bit_depth
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
                        features.SHA256: _encoded_sha256(image.encoded, form, expected).encode(),
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
            records, size, digest.hexdigest(), rejected, truth.counted(counts), dataclasses.asdict(depths)
        )
        write_note(target, result)
    return result


def write_note(target: Path, result: PartResult) -> None:
    """Write what is to be known of a complete file next to it, before it gets its name."""
    write_atomically(Path(f"{target}.json"), json.dumps(dataclasses.asdict(result)))


def _planned(task: PartTask) -> sqlite3.Cursor:
    db = sqlite3.connect(task.index)
    return db.execute(
        "SELECT path, file, offset, size, shape, truth, hash, form FROM items WHERE split = ? AND shard = ? "
        f"ORDER BY hash, path, {TRUTHS[task.task].order} LIMIT ? OFFSET ?",
        (task.split, task.shard, task.count, task.first),
    )


def _encoded_sha256(encoded: bytes, form: str | None, source_sha256: bytes) -> str:
    return source_sha256.hex() if form is not None else hashlib.sha256(encoded).hexdigest()


def _changed(path: str, why: str) -> SourceChangedError:
    return SourceChangedError(
        f"{printable(path)} changed while it was being ingested ({why}). Run the same command again"
    )
