"""Puts boxes that are listed one by one, in any order, together by picture; on disk, not in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator

from components.ingest.boxes import Annotation, Box, Size
from components.ingest.files import FileEntry
from components.ingest.index import Item, Reject
from components.ingest.sources import SourceContext

_TABLES = """
CREATE TEMP TABLE IF NOT EXISTS pictures (
    id INTEGER PRIMARY KEY, key TEXT UNIQUE, path TEXT, file BLOB, size INTEGER, mtime INTEGER, split TEXT,
    annotated TEXT, told_in TEXT, problem TEXT
);
CREATE TEMP TABLE IF NOT EXISTS picture_boxes (key TEXT, box TEXT);
CREATE INDEX IF NOT EXISTS temp.boxes_by_picture ON picture_boxes (key);
"""


class Gathered:
    """The pictures of some lists, and the boxes of each.

    A picture has a key, which is its own. A picture with a problem becomes a reject, once, whatever else is
    told of it.
    """

    def __init__(self, context: SourceContext) -> None:
        self._context = context
        self._db = context.index.db
        self._db.executescript(_TABLES)

    def told(self, key: str) -> tuple[Size | None, str] | None:
        """The size and the place in the list that a picture was added with; None where it was not."""
        row = self._db.execute("SELECT annotated, told_in FROM pictures WHERE key = ?", (key,)).fetchone()
        return None if row is None else (_size_from(row[0]), row[1])

    def add_picture(
        self, key: str, name: str, found: FileEntry | str, split: str | None, size: Size | None, told_in: str
    ) -> None:
        """Adds a picture that the list calls `name`; found: its file, or why there is none."""
        entry = FileEntry(name, b"", 0, 0, found) if isinstance(found, str) else found
        problem = f"{entry.problem} ({told_in})" if entry.problem else None
        self._db.execute(
            "INSERT INTO pictures (key, path, file, size, mtime, split, annotated, told_in, problem) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (key, entry.path, self._context.absolute(entry.raw), entry.size_bytes, entry.mtime_ns, split,
             json.dumps(size), told_in, problem),
        )  # fmt: skip

    def spoil(self, key: str, problem: str) -> None:
        """Says why a picture cannot be used; what was said of it first stays."""
        self._db.execute("UPDATE pictures SET problem = ? WHERE key = ? AND problem IS NULL", (problem, key))

    def add_box(self, key: str, box: Box) -> None:
        """Adds a box of a picture."""
        values = [box.label, *box.sides, box.difficult, box.truncated]
        self._db.execute("INSERT INTO picture_boxes VALUES (?, ?)", (key, json.dumps(values)))

    def inputs(self) -> Iterator[Item | Reject]:
        """The pictures, in the order in which they were added, with their boxes in the order of theirs."""
        for key, path, file, size, mtime, split, annotated, problem in self._db.execute(
            "SELECT key, path, file, size, mtime, split, annotated, problem FROM pictures ORDER BY id"
        ):
            if problem is not None:
                yield Reject(path, problem)
                continue
            boxes = self._db.execute("SELECT box FROM picture_boxes WHERE key = ? ORDER BY rowid", (key,))
            yield Item(
                path=path,
                file=file,
                size_bytes=size,
                mtime_ns=mtime,
                split=split,
                boxes=Annotation(tuple(Box(*json.loads(text)) for (text,) in boxes), _size_from(annotated)),
            )


def _size_from(text: str) -> Size | None:
    read = json.loads(text)
    return None if read is None else (read[0], read[1])


def number(value: object) -> float:
    """A finite number. Raises ValueError that says what it is instead."""
    try:
        read = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        read = float("nan")
    if not abs(read) < float("inf"):
        raise ValueError(f"expected a number, got {str(value)[:40]!r}")
    return read
