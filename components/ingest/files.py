"""Files as the sources see them: what a folder holds, in a fixed order, with size and time of each."""

from __future__ import annotations

import dataclasses
import os
import stat
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

# What operating systems and archivers leave behind. It is not data: it is neither read nor counted as
# rejected.
_LITTER = ("__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db")


@dataclasses.dataclass(frozen=True)
class FileEntry:
    """A file below the root.

    path: relative to the root, "/" between folders, valid UTF-8 (other bytes are written in hexadecimal).
    raw: the same as the file system has it.
    size_bytes, mtime_ns: of the file, links followed.
    problem: why it cannot be read ("broken link", "not a regular file"), else "".
    """

    path: str
    raw: bytes
    size_bytes: int
    mtime_ns: int
    problem: str = ""


def displayed(raw: bytes) -> str:
    """A file name's bytes as text that can be written as UTF-8."""
    return raw.decode("utf-8", "backslashreplace")


def label_of(name: str) -> str:
    """A class name in composed form (NFC): macOS spells accents in another way than other systems."""
    return unicodedata.normalize("NFC", name.strip())


def label_problem(label: str) -> str:
    """Why the class name cannot be used, "" if it can: it is written into lists of one name a line."""
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in label):
        return f"the class name {label!r} holds a control character, such as a line break; rename the class"
    return ""


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden or was left by an operating system."""
    return name.startswith(".") or name.lower() in _LITTER


def walk(root: Path, without: Sequence[Path] = ()) -> Iterator[FileEntry]:
    """Every file below root, folder by folder in the order of names; links are followed, loops are not.

    without: folders to leave out (OUTPUT, where that lies inside of INPUT); they need not exist.
    """
    left_out = {_identity(os.fsencode(folder)) for folder in without if folder.exists()}
    top = os.fsencode(root)
    yield from _walk(top, b"", (_identity(top),), left_out)


def _identity(path: bytes) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _walk(
    folder: bytes,
    prefix: bytes,
    above: tuple[tuple[int, int], ...],
    left_out: Collection[tuple[int, int]],
) -> Iterator[FileEntry]:
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except PermissionError as error:
        yield FileEntry(displayed(prefix), prefix, 0, 0, f"the folder cannot be read: {error.strerror}")
        return
    for entry in entries:
        raw = prefix + entry.name
        if is_litter(displayed(entry.name)):
            continue
        try:
            status = entry.stat()
        except OSError as error:
            reason = "broken link" if entry.is_symlink() else f"cannot be read: {error.strerror}"
            yield FileEntry(displayed(raw), raw, 0, 0, reason)
            continue
        if stat.S_ISDIR(status.st_mode):
            identity = _identity(entry.path)
            if identity not in above and identity not in left_out:
                yield from _walk(entry.path, raw + b"/", (*above, identity), left_out)
        elif stat.S_ISREG(status.st_mode):
            yield FileEntry(displayed(raw), raw, status.st_size, status.st_mtime_ns)
        else:
            yield FileEntry(displayed(raw), raw, 0, 0, "not a regular file")
