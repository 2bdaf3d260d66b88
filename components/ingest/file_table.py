"""The files of an input, in the index: looked up by name without holding them in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

from components.ingest.files import FileEntry, compose_name

SCHEMA = """
DROP TABLE IF EXISTS files;
CREATE TABLE files (path TEXT, name TEXT, raw BLOB, size INTEGER, mtime INTEGER, problem TEXT);
"""


class FileTable:
    """The table `files` of an index.

    Args:
        db: The index's database.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, entries: Iterable[FileEntry]) -> None:
        """Store what a walk found, in its order."""
        self._db.executemany(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)",
            (
                (
                    entry.path,
                    compose_name(entry.path.rpartition("/")[2]),
                    entry.raw,
                    entry.size_bytes,
                    entry.stamp,
                    entry.problem,
                )
                for entry in entries
            ),
        )
        self._db.execute("CREATE INDEX files_by_name ON files (name, path)")
        self._db.commit()

    def __iter__(self) -> Iterator[FileEntry]:
        """Yield all files, in the order of the walk."""
        for path, raw, size, mtime, problem in self._db.execute(
            "SELECT path, raw, size, mtime, problem FROM files ORDER BY rowid"
        ):
            yield FileEntry(path, raw, size, mtime, problem)

    def find_named(self, name: str) -> list[FileEntry]:
        """Return the files with this name, in any folder and any form of Unicode, sorted by path."""
        rows = self._db.execute(
            "SELECT path, raw, size, mtime, problem FROM files WHERE name = ? ORDER BY path",
            (compose_name(name),),
        )
        return [FileEntry(*row) for row in rows]

    def find_path(self, path: str) -> list[FileEntry]:
        """Return the files of this path, in any form of Unicode: more than one if they differ in that."""
        if not path.isascii():
            wanted = compose_name(path)
            named = self.find_named(path.rpartition("/")[2])
            return [entry for entry in named if compose_name(entry.path) == wanted]
        rows = self._db.execute(
            "SELECT path, raw, size, mtime, problem FROM files WHERE name = ? AND path = ?",
            (path.rpartition("/")[2], path),
        )
        return [FileEntry(*row) for row in rows]

    def find_folded(self, name: str) -> list[FileEntry]:
        """Return the files whose name, with or without its ending, is this in upper or lower case."""
        self._db.create_function("fold", 1, str.casefold, deterministic=True)
        self._db.execute("CREATE INDEX IF NOT EXISTS files_by_folded ON files (fold(name))")
        key = compose_name(name).casefold()
        rows = self._db.execute(
            "SELECT path, raw, size, mtime, problem FROM files "
            "WHERE fold(name) = ? OR (fold(name) > ? AND fold(name) < ?) ORDER BY path",
            (key, f"{key}.", f"{key}/"),
        )
        entries = [FileEntry(*row) for row in rows]
        names = [compose_name(entry.path.rpartition("/")[2]).casefold() for entry in entries]
        return [e for e, own in zip(entries, names, strict=True) if key in (own, own.rpartition(".")[0])]

    def find_by_stem(self, stem: str) -> list[FileEntry]:
        """Return the files whose name without its ending is this, in any folder, sorted by path."""
        # "/" is the letter after ".": all names that begin with the stem and a dot.
        stem = compose_name(stem)
        rows = self._db.execute(
            "SELECT path, raw, size, mtime, problem FROM files WHERE name > ? AND name < ? ORDER BY path",
            (f"{stem}.", f"{stem}/"),
        )
        entries = [FileEntry(*row) for row in rows]
        return [
            one for one in entries if compose_name(one.path.rpartition("/")[2]).rpartition(".")[0] == stem
        ]
