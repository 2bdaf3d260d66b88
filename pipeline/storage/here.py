"""Copies of buckets for commands on this machine, whose images and records may be in one."""

from __future__ import annotations

import os
from pathlib import Path

from components.base.paths import FOLDER_VARIABLE, is_remote
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

    def fetch_input(self, path: str | Path) -> Path:
        """Fetch the images at a path, and return where they are."""
        if isinstance(path, Path) or not is_remote(path):
            return Path(path)
        self.are_input = True
        return self._fetch(path)

    def fetch_output(self, path: str | Path) -> Path:
        """Fetch what an earlier ingest has left at a path, if that is whole, and return where it is."""
        if isinstance(path, Path) or not is_remote(path):
            return Path(path)
        return self._fetch(path, unless_missing=features.MANIFEST)

    def send_output(self, path: Path) -> None:
        """Make the bucket's folder equal to the local one."""
        if self._mirror is not None:
            self._mirror.replace(str(path))

    def show(self, text: object) -> str:
        """Return a text for users: with the buckets' addresses in place of the local paths."""
        return str(text) if self._mirror is None else self._mirror.shown(str(text))

    def _fetch(self, path: str, unless_missing: str | None = None) -> Path:
        self._mirror = self._mirror or make_mirror()
        local = self._mirror.local(path)
        self._mirror.fetch(local, unless_missing=unless_missing)
        return Path(local)
