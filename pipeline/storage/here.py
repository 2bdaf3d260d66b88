"""Copies of buckets for commands on this machine, whose images and records may be in one."""

from __future__ import annotations

import os
from pathlib import Path

from components.base.paths import FOLDER_VARIABLE, is_remote
from components.ingest.sources import source_named
from pipeline.storage.mirror import Mirror
from schemas import features


def make_mirror() -> Mirror:
    """Return the copies of this user, which stay: the next command fetches what is new.

    They are in `mirante/buckets` of the user's cache, or where the variable `MIRANTE_BUCKETS` says.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.environ.get(FOLDER_VARIABLE) or os.path.join(cache, "mirante", "buckets")
    return Mirror({**os.environ, FOLDER_VARIABLE: folder})


class IngestCopies:
    """The local paths of what `mirante ingest` reads and writes; paths on a disk stay as they are.

    Attributes:
        are_input: Whether the images are copies, which have the times of a bucket's objects.
    """

    def __init__(self) -> None:
        self.are_input = False
        self._mirror: Mirror | None = None

    def fetch_input(self, path: str | Path, source: str, *, is_alone: bool = False) -> Path:
        """Fetch the images at a path, and return where they are.

        Args:
            path: On a disk or in a bucket.
            source: The name of the format. For a file that it reads itself, the images next to that file are
                fetched too.
            is_alone: Whether the images of such a file are elsewhere.
        """
        if isinstance(path, Path) or not is_remote(path):
            return Path(path)
        self.are_input = True
        mirror = self._used_mirror()
        local = Path(mirror.local(path))
        row = source_named(source)
        together = row.reads_itself(local) and not is_alone
        mirror.fetch(str(row.root_of(local) if together else local), exact=True)
        return local

    def fetch_output(self, path: str | Path) -> Path:
        """Fetch what an earlier ingest has left at a path, if that is whole, and return where it is."""
        if isinstance(path, Path) or not is_remote(path):
            return Path(path)
        mirror = self._used_mirror()
        local = mirror.local(path)
        # With exactly its shards: those of an earlier ingest by this machine may be of another number.
        mirror.fetch(local, unless_missing=features.MANIFEST, exact=True)
        return Path(local)

    def send_output(self, path: Path) -> None:
        """Make the bucket's folder equal to the local one."""
        if self._mirror is not None:
            self._mirror.replace(str(path))

    def show(self, text: object) -> str:
        """Return a text for users: with the buckets' addresses in place of the local paths."""
        return str(text) if self._mirror is None else self._mirror.shown(str(text))

    def _used_mirror(self) -> Mirror:
        self._mirror = self._mirror or make_mirror()
        return self._mirror
