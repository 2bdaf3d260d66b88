"""Files as the sources see them: what a folder holds, in a fixed order, with size and time of each."""

import dataclasses
import os
import stat
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from components.base.content import stamp_number
from components.base.errors import DataRefusedError
from components.base.printable import printable
from components.ingest.left_out import litter_reason, no_image_reason

# What a broken link leads to is known by its name alone: with one of these endings it is one image.
IMAGE_ENDINGS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff",
    ".pbm", ".pgm", ".ppm", ".pnm", ".heic", ".heif", ".heics", ".avif", ".jp2", ".j2k", ".jpx", ".jxl",
    ".dcm", ".dicom", ".ico",
)  # fmt: skip
EMPTY_FOLDER = "an empty folder"
LeftOutCallback = Callable[[str, str], None]
StampFunction = Callable[[os.stat_result], int]


@dataclasses.dataclass(frozen=True)
class FileEntry:
    """A file below the root.

    Attributes:
        path: Relative to the root, "/" between folders, valid UTF-8 (other bytes are written in hexadecimal).
        raw: The same as the file system has it.
        size_bytes: Of the file that links lead to.
        stamp: From `components.base.content.stamp_number`: tells two states of a file apart, also if another
            file of equal size and time was moved to its place.
        problem: Why it cannot be read ("broken link", "not a regular file"), else "".
    """

    path: str
    raw: bytes
    size_bytes: int
    stamp: int
    problem: str = ""


def decode_name(raw: bytes) -> str:
    """Return a file name's bytes as text that can be written as UTF-8."""
    return raw.decode("utf-8", "backslashreplace")


def compose_name(name: str) -> str:
    """Return a name in the one form of Unicode (NFC) in which names are compared."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def label_of(name: str) -> str:
    """Return a class name in composed form (NFC): macOS spells accents in another way than other systems."""
    return unicodedata.normalize("NFC", name.strip())


def label_problem(label: str) -> str:
    """Why the class name cannot be used, "" if it can: it is written into lists of one name a line."""
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in label):
        return f"the class name {label!r} holds a control character, such as a line break; rename the class"
    return ""


def walk(
    root: Path,
    without: Sequence[Path] = (),
    left_out: LeftOutCallback | None = None,
    stamp_of: StampFunction = stamp_number,
) -> Iterator[FileEntry]:
    """Every file below root, folder by folder in the order of names; links are followed, loops are not.

    Args:
        root: The folder.
        without: Folders to leave out (OUTPUT, where that lies inside of INPUT); they need not exist.
        left_out: Is called with the path of what no source looks at, and the reason; folders end with "/".
        stamp_of: Gives a file's stamp.

    Raises:
        DataRefusedError: A folder, or a link that may lead to one, cannot be read.
    """
    inner = {_identity(os.fsencode(folder)) for folder in without if folder.exists()}
    top = os.fsencode(root)
    yield from _walk(top, b"", (_identity(top),), inner, left_out or (lambda path, reason: None), stamp_of)


def _identity(path: bytes) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _walk(
    folder: bytes,
    prefix: bytes,
    above: tuple[tuple[int, int], ...],
    without: Collection[tuple[int, int]],
    left_out: LeftOutCallback,
    stamp_of: StampFunction,
) -> Iterator[FileEntry]:
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, f"the folder cannot be read: {error.strerror}") from error
    if not entries and prefix:
        left_out(decode_name(prefix), EMPTY_FOLDER)
    for entry in entries:
        raw = prefix + entry.name
        path = decode_name(raw)
        litter = litter_reason(decode_name(entry.name))
        if litter:
            left_out(f"{path}/" if entry.is_dir(follow_symlinks=False) else path, litter)
            continue
        try:
            status = entry.stat()
        except OSError as error:
            why = "broken link" if entry.is_symlink() else f"cannot be read: {error.strerror}"
            if entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and not _is_file_name(path)):
                raise _unreadable(folder + b"/" + entry.name, why) from error
            yield FileEntry(path, raw, 0, 0, why)
            continue
        if stat.S_ISDIR(status.st_mode):
            identity = status.st_dev, status.st_ino
            if identity not in above and identity not in without:
                yield from _walk(entry.path, raw + b"/", (*above, identity), without, left_out, stamp_of)
        elif stat.S_ISREG(status.st_mode):
            yield FileEntry(path, raw, status.st_size, stamp_of(status))
        else:
            yield FileEntry(path, raw, 0, 0, "not a regular file")


def _is_file_name(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.lower().endswith(IMAGE_ENDINGS) or bool(no_image_reason(name))


def _unreadable(path: bytes, why: str) -> DataRefusedError:
    return DataRefusedError(
        f"{printable(decode_name(path))}: {why}: a folder that cannot be read may hold any number of images; "
        "give the right to read it, mount what it leads to, or move it out of INPUT"
    )
