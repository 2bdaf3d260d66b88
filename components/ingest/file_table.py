"""The files of an input, in the index: looked up by name without holding them in memory."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from components.ingest.files import FileEntry, compose_name

# `tail` is the path from its end on, folded and without the ending: "1/cats/train/" of Train/cats/1.JPG.
# So files of one name in a hundred thousand folders are found by the folders that they are in.
SCHEMA = """
DROP TABLE IF EXISTS files;
CREATE TABLE files (path TEXT, tail TEXT, raw BLOB, size INTEGER, mtime INTEGER, problem TEXT);
"""
_COLUMNS = "path, raw, size, mtime, problem"


class FileTable:
    """The table `files` of an index.

    Args:
        db: The index's database.

    Attributes:
        depth: The largest number of folders that a file is in.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.depth = 0

    def add(self, entries: Iterable[FileEntry]) -> None:
        """Store what a walk found, in its order."""
        self._db.executemany("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)", map(self._row, entries))
        self._db.execute("CREATE INDEX files_by_tail ON files (tail)")
        self._db.commit()

    def _row(self, entry: FileEntry) -> tuple[object, ...]:
        *folders, name = entry.path.split("/")
        self.depth = max(self.depth, len(folders))
        stem = name.rpartition(".")[0] or name
        return entry.path, _tail(stem, folders), entry.raw, entry.size_bytes, entry.stamp, entry.problem

    def __iter__(self) -> Iterator[FileEntry]:
        """Yield all files, in the order of the walk."""
        for row in self._db.execute(f"SELECT {_COLUMNS} FROM files ORDER BY rowid"):
            yield FileEntry(*row)

    def find(
        self,
        name: str,
        folders: Sequence[str] = (),
        is_whole: bool = False,
        any_ending: bool = False,
        any_case: bool = False,
    ) -> Iterator[FileEntry]:
        """Yield the files of a name in folders that end with these, in any form of Unicode, sorted by path.

        Args:
            name: The name.
            folders: The last folders that the file is in.
            is_whole: Whether these are all of its folders.
            any_ending: Whether `name` is without the ending that the file has.
            any_case: Whether upper and lower case count as the same.
        """
        key = _tail(name if any_ending else name.rpartition(".")[0] or name, folders)
        # "0" is the letter after "/": all tails that begin with the key.
        where, values = (
            ("tail = ?", (key,)) if is_whole else ("tail >= ? AND tail < ?", (key, f"{key[:-1]}0"))
        )
        form = fold_name if any_case else compose_name
        wanted = [form(part) for part in (*folders, name)]
        for row in self._db.execute(f"SELECT {_COLUMNS} FROM files WHERE {where} ORDER BY path", values):
            parts = form(row[0]).rsplit("/", len(wanted))[-len(wanted) :]
            if any_ending:
                parts[-1] = parts[-1].rpartition(".")[0]
            if parts == wanted:
                yield FileEntry(*row)

    def has(self, name: str, *, any_ending: bool = False) -> bool:
        """Return whether there is a file of this name, in any folder."""
        return next(self.find(name, any_ending=any_ending), None) is not None


def fold_name(name: str) -> str:
    """Return a name in the form in which upper and lower case are the same."""
    return compose_name(name).casefold()


def _tail(stem: str, folders: Sequence[str]) -> str:
    return fold_name("/".join((stem, *reversed(folders), "")))
