"""Computes the SHA-256 of files, once for each state of a file."""

import glob
import hashlib
import json
import os
import time
from pathlib import Path

from components.base.paths import write_atomically

_BLOCK_BYTES = 1 << 20
# A file that changes twice within a clock tick of its file system keeps its times; FAT has the longest tick.
_SETTLED_SECS = 2.0


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def weights_sha256(weights: str | None) -> str | None:
    """Return the SHA-256 of weights: a file, a folder, or the files of a checkpoint, whose names begin so.

    None without weights, for a word such as `imagenet`, and where nothing is there.
    """
    path = Path(weights or "")
    if path.is_file():
        return file_sha256(path)
    if not path.is_absolute():
        return None
    found = path.rglob("*") if path.is_dir() else path.parent.glob(f"{glob.escape(path.name)}.*")
    digests = [
        [str(each.relative_to(path.parent)), file_sha256(each)] for each in sorted(found) if each.is_file()
    ]
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest() if digests else None


def stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    """Return numbers that change with a file: bytes, times of change of content and entry (ns), inode."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def stamp_number(status: os.stat_result) -> int:
    """Return `stamp` as one number from 0 to 2^56 - 1, which differs between two states of a file."""
    digest = hashlib.blake2b(repr(stamp(status)).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")


class FileDigests:
    """SHA-256 of files, remembered together with their stamps.

    Args:
        memory: File that keeps them between runs; None for none. It only saves work: if it cannot be read,
            they are computed again.
    """

    def __init__(self, memory: Path | None = None):
        self._memory = memory
        self._known = _read(memory)
        self._asked: dict[str, list[object]] = {}

    def of(self, path: Path) -> str:
        """Return the SHA-256 of a file's bytes.

        Raises:
            OSError: It cannot be read.
        """
        key = str(path.absolute())
        status = path.stat()
        known = self._known.get(key)
        if known is not None and known[:-1] == list(stamp(status)):
            self._asked[key] = known
            return str(known[-1])
        digest = file_sha256(path)
        # Only if the file did not change while it was read, and was not written just before.
        settled = time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED_SECS
        if settled and stamp(path.stat()) == stamp(status):
            self._asked[key] = [*stamp(status), digest]
        return digest

    def save(self) -> None:
        """Write the digests that were asked for, and forget all others."""
        if self._memory is None or self._asked == self._known:
            return
        self._memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._memory, json.dumps(self._asked))


def _read(memory: Path | None) -> dict[str, list[object]]:
    if memory is None:
        return {}
    try:
        read = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(read, dict):
        return {}
    return {key: value for key, value in read.items() if isinstance(value, list) and len(value) == 5}
