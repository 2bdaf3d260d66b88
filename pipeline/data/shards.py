"""What TFRecords of the data contract hold that have no manifest to say so."""

import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from components.base.content import FileDigests
from components.base.errors import DataRefusedError
from components.base.example import parse_example, type_problem
from components.base.tfrecord import read_records
from components.base.words import format_part
from components.ingest import Manifest, published_completely, read_manifest
from components.ingest.readings import LEAST_PIXELS, PIXELS_HINT
from components.ingest.staging import SHARD_NAME, STAGING
from components.ingest.truth import Label, Truth, truth_of
from schemas import features

_CORRECT = "correct the records, or ingest the images again"


@dataclasses.dataclass(frozen=True)
class Found:
    """The content of a folder.

    Attributes:
        task: What they are for.
        patterns: Shards by split, as a glob relative to the folder.
        class_names: In the order of their labels.
        counts: Images that show a class by split and class, in the order of the labels.
        max_boxes: The largest number of boxes of one image.
        records: Records by split.
    """

    task: str
    patterns: dict[str, str]
    class_names: list[str]
    counts: dict[str, list[int]]
    max_boxes: int
    records: dict[str, int]


def content_of(shards: Mapping[str, str]) -> str:
    """Return the SHA-256 of a folder's shards, from the SHA-256 of each by its name."""
    return hashlib.sha256(json.dumps(sorted(shards.items())).encode()).hexdigest()


def check_shards(folder: Path, manifest: Manifest, digests: FileDigests) -> None:
    """Compare a folder's shards with its manifest, byte for byte.

    Raises:
        DataRefusedError: A shard is missing or has other bytes, or the folder has shards that the manifest
            does not list.
    """
    if not published_completely(folder):
        raise DataRefusedError(
            f"{folder}: the shards are not those that {features.MANIFEST} lists: an ingest was "
            "interrupted, or the copy of the folder. Run the ingest, or the copy, again"
        )
    listed = {shard.name: shard for shard in manifest.shards()}
    for name, shard in listed.items():
        if (found := digests.of(folder / name)) != shard.sha256:
            raise DataRefusedError(
                f"{folder / name}: expected SHA-256 {shard.sha256} ({features.MANIFEST}), got {found}: the "
                "file is damaged, or was replaced without its manifest; copy the whole folder again, or "
                "remove this file and ingest again"
            )
    more = sorted(name for name in os.listdir(folder) if SHARD_NAME.match(name) and name not in listed)
    if more:
        raise DataRefusedError(
            f"{folder}: expected the {len(listed)} shards that {features.MANIFEST} lists, got also "
            f"{', '.join(more[:3])}{', ...' if len(more) > 3 else ''}; move them out of this folder"
        )


def remove_damaged_shards(folder: Path, digests: FileDigests) -> list[str]:
    """Remove the shards of an ingest that have other bytes than it wrote; the next ingest writes them anew.

    Returns:
        Their names.
    """
    manifest = read_manifest(folder)
    shards = [] if manifest is None else list(manifest.shards())
    damaged = [shard.name for shard in shards if digests.of(folder / shard.name) != shard.sha256]
    for name in damaged:
        (folder / name).unlink()
    return damaged


def remove_shards_of_no_manifest(folder: Path) -> None:
    """Remove the shards of an ingest whose manifest is gone or damaged: nothing tells what they are.

    Args:
        folder: Only an ingest of this root has written there, and another one follows.

    Raises:
        DataRefusedError: The manifest cannot be read, or is a later Mirante's.
    """
    try:
        if read_manifest(folder) is not None or (folder / STAGING).exists():
            return
    except DataRefusedError as e:
        if e.__cause__ is None or isinstance(e.__cause__, OSError):
            raise
    for path in list(folder.iterdir()):
        if SHARD_NAME.match(path.name) or path.name == features.MANIFEST:
            path.unlink()


def look_into_shards(folder: Path, wanted: str | None = None) -> Found:
    """Read all records. What DataGate names, records without a class or image, is passed over.

    Args:
        folder: The folder.
        wanted: The kind of records that is asked for, which decides between kinds of the same features.

    Raises:
        DataRefusedError: A file is damaged, or labels and class names do not agree.
    """
    patterns: dict[str, str] = {}
    reader = _Reader(wanted)
    counted: dict[str, Counter[int]] = {}
    records: dict[str, int] = {}
    for split, prefixes in features.SPLIT_PREFIXES.items():
        for prefix in prefixes:
            files = [path for path in folder.glob(f"{prefix}*") if path.is_file()]
            if files and split not in patterns:
                patterns[split] = f"{prefix}*"
                counted[split] = Counter()
                for path in files:
                    counted[split].update(reader.labels_in(path))
                records[split] = reader.take_count()
    truth, names = reader.truth or Label, reader.names
    first = truth.first_label
    if not names or sorted(names) != list(range(first, first + len(names))):
        raise DataRefusedError(
            f"{folder}: {truth.label}: expected every number from {first} to the last class, each with an "
            f"{truth.text}, got {sorted(names)[:10]}; {_CORRECT}"
        )
    if reader.boxes_in_pixels * 2 > reader.boxes:
        found = format_part(reader.boxes_in_pixels, reader.boxes, "box with", "boxes with")
        raise DataRefusedError(
            f"{folder}: expected boxes in shares, 0 .. 1, got {found} numbers above {LEAST_PIXELS:g}: "
            f"{PIXELS_HINT}"
        )
    counts = {split: [labels[label] for label in sorted(names)] for split, labels in counted.items()}
    class_names = [names[label] for label in sorted(names)]
    return Found(truth.task, patterns, class_names, counts, reader.max_boxes, records)


class _Reader:
    """Gathers what records say.

    Attributes:
        truth: Which kind the first record that tells has; None before.
        names: Class names by label.
        max_boxes: The largest number of boxes so far.
        boxes, boxes_in_pixels: How many there are, and how many have numbers that no share has.
    """

    def __init__(self, wanted: str | None) -> None:
        self.truth: type[Truth] | None = None
        self._wanted = wanted
        self.names: dict[int, str] = {}
        self.max_boxes = 0
        self.boxes = 0
        self.boxes_in_pixels = 0
        self._records = 0

    def take_count(self) -> int:
        """Return how many records were read since the last call."""
        count, self._records = self._records, 0
        return count

    def labels_in(self, path: Path) -> Iterator[int]:
        """Yield the labels of every record, each once a record."""
        for number, record in enumerate(read_records(path)):
            where = f"{path}, record {number}"
            try:
                values = parse_example(record)
            except DecodeError as error:
                raise DataRefusedError(f"{where}: not a tf.train.Example; {_CORRECT}") from error
            if problem := type_problem(values):
                raise DataRefusedError(f"{where}: {problem}; {_CORRECT}")
            self._records += 1
            self.truth = self.truth or truth_of(values, self._wanted)
            if self.truth is None:
                continue
            boxes = self.truth.boxes_in(values)
            self.max_boxes = max(self.max_boxes, len(boxes))
            self.boxes += len(boxes)
            self.boxes_in_pixels += sum(max(sides) > LEAST_PIXELS for sides in boxes)
            yield from self._labels(values, self.truth.label, self.truth.text, where)

    def _labels(self, values: dict[str, list[Any]], label: str, text: str, where: str) -> Iterator[int]:
        labels, texts = values.get(label, []), values.get(text, [])
        for number, name_bytes in zip(labels, texts, strict=False):
            try:
                name = name_bytes.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataRefusedError(f"{where}: {text}: expected UTF-8, got {name_bytes!r:.40}") from error
            if self.names.setdefault(number, name) != name:
                raise DataRefusedError(
                    f"{where}: {label} {number} stands for both {self.names[number]!r} and {name!r}; "
                    f"{_CORRECT}"
                )
        yield from set(labels[: len(texts)])
