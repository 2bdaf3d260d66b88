"""What a data folder holds: `manifest.json`, and `inputs.csv.gz` with every input it was made from.

Both are written after the shards, the manifest last: a folder with a manifest is complete. Both have the same
bytes whenever the same INPUT, in the same place, was ingested with the same options.
"""

import base64
import csv
import dataclasses
import gzip
import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from components.base.errors import DataRefusedError
from components.base.paths import replace_file, write_atomically
from components.base.table import format_table
from components.ingest.bit_depth import UPPER, Depths
from components.ingest.truth.counts import BoxCounts
from schemas import features

# Changes when a record's bytes or their order change for the same inputs: then everything is ingested again.
FORMAT_VERSION = 3
INPUTS = "inputs.csv.gz"
REJECTS = "rejects.csv"
LEFT_OUT = "left_out.csv"
COPIES = "copies.csv"


class InputRow(NamedTuple):
    """A file of INPUT.

    Attributes:
        path, size_bytes, stamp: See components.ingest.files.
        sha256: Hexadecimal; "" where it was not needed.
        form: See components.ingest.examine; "" for a file that does not keep its bytes.
        look: See components.ingest.looks; None where there is none.
        largest, rule: See components.ingest.examine.Examined.
    """

    path: str
    size_bytes: int
    stamp: int
    sha256: str = ""
    form: str = ""
    look: bytes | None = None
    largest: int | None = None
    rule: str | None = None


@dataclasses.dataclass(frozen=True)
class Shard:
    """A TFRecord file.

    Attributes:
        name: Its name in the data folder.
        records, bytes, sha256: Of the file.
        fingerprint: Of what was planned to go in; equal fingerprints give equal files.
        rejected: (path, reason, SHA-256 of the source) of inputs that were planned and then did not decode.
        boxes: Counts of its boxes; None in data of one class per image.
        depths: Counts of images with 16 bits per channel.
    """

    name: str
    records: int
    bytes: int
    sha256: str
    fingerprint: str
    rejected: tuple[tuple[str, ...], ...] = ()
    boxes: BoxCounts | None = None
    depths: Depths = dataclasses.field(default_factory=Depths)


@dataclasses.dataclass(frozen=True)
class Split:
    """The records of one split.

    Attributes:
        images: Its images.
        class_counts: Images that show a class, by the name of every class.
        shards: In the order of their names.
        box_counts: Boxes by the name of every class; empty in data of one class per image.
    """

    images: int
    class_counts: dict[str, int]
    shards: tuple[Shard, ...]
    box_counts: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def classes(self) -> int:
        """Classes with at least one record."""
        return sum(count > 0 for count in self.class_counts.values())


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of a data folder.

    Attributes:
        version: FORMAT_VERSION that it was made with.
        source: Name of the source.
        options: IngestConfig.content_settings().
        class_names: In the order of their labels, which begin with 0, or with 1 for boxes.
        splits: By name; those without an image are left out.
        rejected: Inputs, images or boxes, that could not be used.
        rejects_sha256: Of rejects.csv.
        cross_split_duplicates: Different images that are, identical to the byte, in two splits or more.
        warnings: What is odd about the data, a sentence each.
        input: Absolute path of INPUT; "" for a source that brings its own data.
        task: What the data are for.
        max_boxes: The largest number of boxes of one image.
        left_out: Files and folders that were not read; left_out.csv has each.
        copies: Images that are there several times; copies.csv has each.
        code: components.ingest.plan.reader_code() of the ingest; "" if none was written yet.
        bit_depth: The rule that the images were stored by, where `options` has `auto` too.
    """

    version: int
    source: str
    options: dict[str, Any]
    class_names: list[str]
    splits: dict[str, Split]
    rejected: int
    rejects_sha256: str
    cross_split_duplicates: int
    warnings: list[str]
    input: str = ""
    task: str = features.CLASSIFICATION
    max_boxes: int = 0
    left_out: int = 0
    copies: int = 0
    code: str = ""
    bit_depth: str = UPPER

    def shards(self) -> Iterator[Shard]:
        """Yield all shards of all splits."""
        for split in self.splits.values():
            yield from split.shards


def read_manifest(output: Path) -> Manifest | None:
    """Return the manifest of a data folder, None if it has none.

    Raises:
        DataRefusedError: It cannot be read, is damaged, or was written by a later version.
    """
    path = output / features.MANIFEST
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataRefusedError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        read = json.loads(content.decode("utf-8"))
        if read["version"] > FORMAT_VERSION:
            raise DataRefusedError(
                f"{path}: version {read['version']}, this Mirante reads up to {FORMAT_VERSION}. Use a later "
                "Mirante, or ingest again with --force"
            )
        splits = {
            name: Split(
                split["images"],
                split["class_counts"],
                tuple(map(_read_shard, split["shards"])),
                split.get("box_counts", {}),
            )
            for name, split in read["splits"].items()
        }
        # Manifests of earlier versions have it among the options alone.
        bit_depth = read.get("bit_depth") or read["options"].get("bit_depth", UPPER)
        return Manifest(**{**read, "splits": splits, "bit_depth": bit_depth})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataRefusedError(
            f"{path}: not a manifest of Mirante's, or damaged ({error!r}). Ingest again with --force"
        ) from error


def _read_shard(read: dict[str, Any]) -> Shard:
    boxes = read.get("boxes")
    # Manifests of earlier versions have `low_range` instead.
    dark, first = read.get("low_range", (0, ""))
    depths = read.get("depths", {"dark": dark, "first_dark": first})
    return Shard(
        **{
            **{key: value for key, value in read.items() if key != "low_range"},
            "rejected": tuple(map(tuple, read["rejected"])),
            "depths": Depths(**depths),
            "boxes": None if boxes is None else BoxCounts.from_json(boxes),
        }
    )


def is_manifest(folder: Path) -> bool:
    """Return whether the folder's manifest.json is one of ingest's, of any version."""
    try:
        read = json.loads((folder / features.MANIFEST).read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(read, dict) and read.keys() >= {"version", "source", "class_names", "splits"}


def write_manifest(output: Path, manifest: Manifest) -> None:
    """Write manifest.json."""
    write_atomically(
        output / features.MANIFEST, json.dumps(dataclasses.asdict(manifest), indent=1) + "\n", sync=True
    )


def rejects_bytes(rejects: Iterable[tuple[str, str]]) -> bytes:
    """Return the bytes of rejects.csv and left_out.csv: path,reason."""
    return format_table(("path", "reason"), rejects).encode("utf-8")


def _write_rows(text: TextIO, rows: Iterable[tuple[Any, ...]]) -> None:
    """Write rows that begin with a path; macOS has files that end with a carriage return."""
    writer = csv.writer(text, lineterminator="\n")
    # Before Python 3.13 the csv module leaves a carriage return unquoted, and then reads an end of line.
    quoting = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        (quoting if "\r" in row[0] else writer).writerow(row)


def write_lists(output: Path, rejects: bytes, left_out: Sequence[tuple[str, str]]) -> None:
    """Write rejects.csv, and left_out.csv where there is anything to list in it."""
    write_atomically(output / REJECTS, rejects, sync=True)
    write_list(output / LEFT_OUT, rejects_bytes(left_out) if left_out else b"")


def write_list(path: Path, content: bytes) -> None:
    """Write a list; remove the file of a list that is empty."""
    if content:
        write_atomically(path, content, sync=True)
    else:
        path.unlink(missing_ok=True)


def write_inputs(output: Path, rows: Iterable[InputRow]) -> None:
    """Write inputs.csv.gz; rows in the order of the walk, so that they are compared without being held."""
    with replace_file(output / INPUTS) as temporary, temporary.open("wb") as raw:
        # No file name and no time in the header: equal inputs give equal bytes.
        with (
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
        ):
            _write_rows(text, [InputRow._fields])
            _write_rows(
                text, ((*row[:5], base64.b64encode(row.look or b"").decode(), *row[6:]) for row in rows)
            )
        raw.flush()
        os.fsync(raw.fileno())


def read_inputs(output: Path) -> Iterator[InputRow]:
    """Yield the rows that write_inputs wrote; ends early where the file is missing or damaged."""
    try:
        with gzip.open(output / INPUTS, "rt", encoding="utf-8", newline="") as text:
            rows = csv.reader(text)
            next(rows, None)
            for path, size, stamp, sha256, form, look, largest, rule in rows:
                yield InputRow(
                    path,
                    int(size),
                    int(stamp),
                    sha256,
                    form,
                    base64.b64decode(look) or None,
                    int(largest) if largest else None,
                    rule or None,
                )
    except (OSError, EOFError, ValueError, zlib.error):
        return  # the file only saves work: a reader that misses rows does the work again
