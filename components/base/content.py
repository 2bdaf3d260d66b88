"""SHA-256 of files, computed once for as long as a file stays as it is."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

from components.base.paths import write_atomically

_BLOCK_BYTES = 1 << 20
# A file that changes twice within a clock tick of its file system keeps its times; FAT has the longest, 2 s.
_SETTLED_SECS = 2.0


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    """Return what changes when a file changes: bytes, times of change of content and entry (ns), inode."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def stamp_number(status: os.stat_result) -> int:
    """Return `stamp` as one number from 0 to 2^56 - 1, by which two states of a file are told apart."""
    digest = hashlib.blake2b(repr(stamp(status)).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")


class FileDigests:
    """SHA-256 of files that are remembered together with their stamps.

    Args:
        memory: The file that keeps them between runs; None for none. It only saves work: whatever it holds
            that cannot be read is computed again.
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
        # Only a file that is the same after it was read, and was not written just now.
        settled = time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED_SECS
        if settled and stamp(path.stat()) == stamp(status):
            self._asked[key] = [*stamp(status), digest]
        return digest

    def save(self) -> None:
        """Write what was asked for; the rest is forgotten."""
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
