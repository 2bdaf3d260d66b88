"""MNIST's IDX files, and those of the sets that took over the format (Fashion-MNIST, KMNIST, EMNIST, ...).

Format: http://yann.lecun.com/exdb/mnist/ (kept at https://github.com/cvdfoundation/mnist), big endian:
    images   uint32 0x00000803, uint32 count, uint32 height, uint32 width, then uint8 [count, height, width]
    labels   uint32 0x00000801, uint32 count, then uint8 [count]

Names: train-images-idx3-ubyte, t10k-images-idx3-ubyte (the test split) and their labels files next to them,
with a prefix as in emnist-balanced-train-images-idx3-ubyte, with "." for a "-", with .gz or without. The
first bytes of a file tell whether it is gzipped. EMNIST's images are set upright (upright.py), all others are
kept as they are.
"""

import dataclasses
import gzip
import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from components.base.errors import DataRefusedError, UsageError
from components.base.limits import DEFAULT_MAX_PIXELS
from components.ingest.archive import MAX_EXPANSION, MIN_EXPANDED_BYTES
from components.ingest.files import FileEntry
from components.ingest.item import Item, Reject
from components.ingest.sources.context import SourceContext
from components.ingest.sources.upright import must_transpose, write_transposed
from components.ingest.truth import Label
from schemas import features

_NAME = re.compile(
    r"^(?P<prefix>.*?)(?P<part>train|t10k|test)[-_.](?P<what>images|labels)[-_.]idx[13][-_.]ubyte(\.gz)?$"
)
_IMAGES_MAGIC = 0x00000803
_LABELS_MAGIC = 0x00000801
_GZIP_MAGIC = b"\x1f\x8b"
_COPY_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class _Unpacked:
    """An IDX file.

    Attributes:
        file: It is uncompressed.
        counts: The header's, [count] or [count, height, width].
        offset: Of the data.
    """

    file: Path
    counts: tuple[int, ...]
    offset: int


def find(context: SourceContext) -> Iterator[Item | Reject]:
    """Yield one item per image, `<file>#<row>`, class names are the labels' numbers.

    Raises:
        UsageError: INPUT holds no such files, or several sets.
        DataRefusedError: A file is damaged.
    """
    found: set[int] = set()
    pairs = _pairs(context)
    transpose = must_transpose(context, (images.path for images, _ in pairs.values()))
    for part, (images_entry, labels_entry) in pairs.items():
        images = _unpack(context, images_entry, _IMAGES_MAGIC, f"{part}-images.raw")
        labels = _unpack(context, labels_entry, _LABELS_MAGIC, f"{part}-labels.raw")
        count, height, width = images.counts
        if labels.counts[0] != count:
            raise DataRefusedError(
                f"{images_entry.path} has {count} images, {labels_entry.path} has {labels.counts[0]} labels: "
                "they do not belong together, or one of them is another set's. Get both from the same place"
            )
        if not 0 < height * width <= DEFAULT_MAX_PIXELS:
            raise DataRefusedError(
                f"{images_entry.path}: its header tells of images of {height} x {width} pixels, expected 1 "
                f"to {DEFAULT_MAX_PIXELS} of them. It is damaged: download it again"
            )
        if transpose:
            images = _transpose(images, context.scratch / f"{part}-images.upright")
            _, height, width = images.counts
        context.announce(count)
        classes = labels.file.read_bytes()[labels.offset :]
        # The usual names (t10k) do not say which split it is; the user's own --split-names may.
        split = context.split_named(part) or (features.TRAIN if part == "train" else features.TEST)
        found.update(classes)
        context.index.set_class_names(map(str, sorted(found)))
        file, size = os.fsencode(images.file), height * width
        for row in range(count):
            yield Item(
                path=f"{images_entry.path}#{row}",
                file=file,
                offset=images.offset + row * size,
                size_bytes=size,
                shape=(height, width, 1),
                truth=Label(str(classes[row])),
                split=split,
            )


def fits(context: SourceContext) -> str | None:
    """Return the first file that is called as MNIST's images are; None where none is."""
    for entry in context.index.files:
        match = _NAME.match(entry.path.rpartition("/")[2])
        if match is not None and match["what"] == "images":
            return f"{entry.path} is called as MNIST's files are"
    return None


def _pairs(context: SourceContext) -> dict[str, tuple[FileEntry, FileEntry]]:
    """train, t10k or test -> its images and labels files."""
    found: dict[tuple[str, str], FileEntry] = {}
    sets: set[str] = set()
    for entry in context.index.files:
        folders, _, name = entry.path.rpartition("/")
        match = _NAME.match(name)
        if match is None:
            continue
        # Unpacked archives have a folder of the file's own name round it, as Kaggle's MNIST has.
        above, _, folder = folders.rpartition("/")
        around = _NAME.match(folder)
        if around is not None and around["part"] == match["part"] and around["what"] == match["what"]:
            folders = above
        sets.add(f"{folders}/{match['prefix']}".lstrip("/"))
        key = match["part"], match["what"]
        found[key] = _one_of(context, found[key], entry) if key in found else entry
    if not any(what == "images" for _, what in found):
        raise UsageError(
            f"{context.shown}: no IDX files in it. Expected names like train-images-idx3-ubyte.gz and "
            "t10k-images-idx3-ubyte.gz with their labels files next to them"
        )
    if len(sets) > 1:
        raise UsageError(
            f"{context.shown}: more than one IDX set in it ({', '.join(sorted(sets))}); put the one to read "
            "into a folder of its own"
        )
    pairs = {}
    for part, what in sorted(found):
        if what == "images":
            if (part, "labels") not in found:
                images = found[part, "images"].path
                expected = images.replace("images", "labels").replace("idx3", "idx1")
                raise DataRefusedError(
                    f"{images}: its labels file is missing, expected {expected} next to it"
                )
            pairs[part] = found[part, "images"], found[part, "labels"]
    return pairs


def _one_of(context: SourceContext, one: FileEntry, other: FileEntry) -> FileEntry:
    """Return the one of two files for the same to read: x, not x.gz next to it (torchvision keeps both)."""
    packed = one.path.endswith(".gz"), other.path.endswith(".gz")
    if packed[0] != packed[1]:
        return other if packed[0] else one
    if one.size_bytes != other.size_bytes:
        raise DataRefusedError(
            f"{context.shown}: {one.path} ({one.size_bytes} bytes) and {other.path} ({other.size_bytes} "
            "bytes) are for the same, and differ; remove the one that is wrong"
        )
    return min(one, other, key=lambda entry: entry.path.count("/"))


def _unpack(context: SourceContext, entry: FileEntry, magic: int, scratch_name: str) -> _Unpacked:
    """Return the file, unpacked if it is gzipped, once its header and length are checked."""
    path = Path(os.fsdecode(context.absolute(entry.raw)))
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise DataRefusedError(f"{path}: an empty file. Download it again")
    if head.lstrip()[:1] == b"<":
        raise DataRefusedError(
            f"{path}: a web page, not an IDX file: the download was answered with it. Get it again"
        )
    if not head.startswith(_GZIP_MAGIC):
        if entry.path.endswith(".gz") and head[:2] != b"\x00\x00":
            raise DataRefusedError(
                f"{path}: not gzipped though it is called .gz, nor an IDX file. Get it again"
            )
        counts, offset = _header(path, head, magic)
        _check_length(path, path.stat().st_size, counts, offset)
        return _Unpacked(path, counts, offset)

    unpacked = context.scratch / scratch_name
    try:
        with gzip.open(path, "rb") as packed, unpacked.open("wb") as out:
            head = packed.read(64)
            counts, offset = _header(path, head, magic)
            # One byte more than the header tells is enough to see that it is wrong: no bomb is unpacked here.
            left = offset + _size(counts) + 1
            if left > max(MIN_EXPANDED_BYTES, MAX_EXPANSION * entry.size_bytes):
                raise DataRefusedError(
                    f"{path}: its header tells of {left - 1} bytes, which {entry.size_bytes} bytes do not "
                    "unpack to. It is damaged: download it again"
                )
            data = head
            while data and left > 0:
                out.write(data[:left])
                left -= len(data)
                data = packed.read(_COPY_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataRefusedError(
            f"{path}: cut off or damaged, it does not unpack to its end ({error}); it has {entry.size_bytes} "
            "bytes. Download it again"
        ) from error
    _check_length(path, unpacked.stat().st_size, counts, offset)
    return _Unpacked(unpacked, counts, offset)


def _transpose(images: _Unpacked, target: Path) -> _Unpacked:
    """Return images with rows and columns exchanged, in another file; what was unpacked for it is removed."""
    count, height, width = images.counts
    write_transposed(images.file, (count, height, width), images.offset, target)
    if images.file.parent == target.parent:
        images.file.unlink()
    return _Unpacked(target, (count, width, height), 0)


def _size(counts: tuple[int, ...]) -> int:
    size = 1
    for count in counts:
        size *= count
    return size


def _header(path: Path, head: bytes, magic: int) -> tuple[tuple[int, ...], int]:
    dimensions = magic & 0xFF
    offset = 4 * (1 + dimensions)
    found = int.from_bytes(head[:4], "big")
    if len(head) < min(offset, 8) or found != magic:
        what = "images" if magic == _IMAGES_MAGIC else "labels"
        raise DataRefusedError(
            f"{path}: not an IDX file of {what}: it begins with 0x{found:08x}, expected 0x{magic:08x}. "
            "Check that images and labels are not mixed up, or get it again"
        )
    if len(head) < offset:
        raise DataRefusedError(f"{path}: cut off within its header ({len(head)} bytes). Download it again")
    return struct.unpack(f">{dimensions}I", head[4:offset]), offset


def _check_length(path: Path, length: int, counts: tuple[int, ...], offset: int) -> None:
    expected = offset + _size(counts)
    if length != expected:
        shape = " x ".join(map(str, counts))
        more = "more than" if length > expected else "only"
        raise DataRefusedError(
            f"{path}: its header tells {shape} values, so {expected} bytes, it has {more} "
            f"{min(length, expected)}. It is cut off or damaged: download it again"
        )
