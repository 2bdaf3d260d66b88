"""What an ingest knows about its inputs, in an SQLite file: memory does not grow with the number of pictures.

It lives in the staging folder. After an ingest was killed, the hashes in it are what need not be computed
again; everything else is made anew from the inputs.
"""

from __future__ import annotations

import dataclasses
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from components.base.errors import DataRefusedError, MiranteError
from components.ingest.files import FileEntry, composed, label_problem
from components.ingest.truth import Label, Truth

_SCHEMA = """
CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, hash BLOB) WITHOUT
ROWID;
CREATE TABLE IF NOT EXISTS origin (input TEXT);
DROP TABLE IF EXISTS files;
DROP TABLE IF EXISTS items;
DROP TABLE IF EXISTS rejects;
DROP TABLE IF EXISTS classes;
DROP TABLE IF EXISTS used;
DROP TABLE IF EXISTS left_out;
DROP TABLE IF EXISTS warnings;
DROP TABLE IF EXISTS looked_up;
DROP TABLE IF EXISTS alike;
CREATE TABLE files (path TEXT, name TEXT, raw BLOB, size INTEGER, mtime INTEGER, problem TEXT);
CREATE TABLE items (
    id INTEGER PRIMARY KEY, path TEXT, file BLOB, offset INTEGER, size INTEGER, mtime INTEGER, shape TEXT,
    truth TEXT, brought TEXT, hash BLOB, unit BLOB, split TEXT, shard INTEGER,
    rejected INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE rejects (path TEXT, reason TEXT, is_box INTEGER);
CREATE TABLE classes (name TEXT PRIMARY KEY);
CREATE TABLE used (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE left_out (path TEXT, reason TEXT, is_input INTEGER);
CREATE TABLE warnings (text TEXT PRIMARY KEY);
CREATE TABLE alike (one BLOB, other BLOB);
CREATE TABLE looked_up (path TEXT, name TEXT, how TEXT, PRIMARY KEY (path, name)) WITHOUT ROWID;
"""


# Of a class name that is a number.
_MAX_DIGITS = 18


@dataclasses.dataclass(frozen=True)
class Item:
    """One input image.

    Attributes:
        path: `image/filename` of its record.
        file: Absolute path, as the file system has it.
        size_bytes: Bytes of the image.
        truth: What is known of it. All items of a source have one kind.
        split: The split that the data bring, or None.
        stamp: As in `components.ingest.files.FileEntry`.
        offset: Where in the file its bytes begin; None if the file is the encoded image.
        shape: (height, width, channels) of raw uint8 pixels; None for an encoded image.
    """

    path: str
    file: bytes
    size_bytes: int
    truth: Truth
    split: str | None = None
    stamp: int = 0
    offset: int | None = None
    shape: tuple[int, int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Reject:
    """An input that cannot be used, and why."""

    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """An input that is no image and is not meant to be one, and how that is seen; it is not rejected."""

    path: str
    reason: str


Found = Item | Reject | LeftOut


def _find_problem(truth: Truth) -> str:
    """Return why a class of an image cannot be used; "" if all can."""
    return next(filter(None, map(label_problem, truth.classes)), "")


def sorted_classes(names: Iterable[str]) -> list[str]:
    """Return class names in the order of their labels: by name, or by number where all are whole numbers."""
    names = sorted(names)
    if names and all(name.isascii() and name.isdigit() and len(name) <= _MAX_DIGITS for name in names):
        return sorted(names, key=int)
    return names


def _ending_of(path: str) -> str:
    """A file name's ending, the same for all names of JPEG."""
    ending = os.path.splitext(path)[1].lower()
    return ".jpg" if ending in (".jpeg", ".jpe", ".jfif") else ending


def shape_text(shape: tuple[int, int, int] | None) -> str | None:
    """A shape as the index has it."""
    return None if shape is None else ",".join(map(str, shape))


def shape_from(text: str | None) -> tuple[int, int, int] | None:
    """The inverse of shape_text."""
    if text is None:
        return None
    height, width, channels = map(int, text.split(","))
    return height, width, channels


class Index:
    """The tables; one process writes, workers read after everything is committed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Which kind of truth the items have; known from the first one on.
        self.truth: type[Truth] = Label
        try:
            self.db = _open(path)
        except sqlite3.DatabaseError:
            # Cut off by a power loss: it holds nothing that cannot be computed again.
            path.unlink()
            self.db = _open(path)

    def close(self) -> None:
        """Closes the file."""
        self.db.close()

    def add_files(self, entries: Iterable[FileEntry]) -> None:
        """Stores what a walk found, in its order."""
        self.db.executemany(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)",
            (
                (
                    entry.path,
                    composed(entry.path.rpartition("/")[2]),
                    entry.raw,
                    entry.size_bytes,
                    entry.stamp,
                    entry.problem,
                )
                for entry in entries
            ),
        )
        self.db.execute("CREATE INDEX files_by_name ON files (name)")
        self.db.commit()

    def files(self) -> Iterator[FileEntry]:
        """All files, in the order of the walk."""
        for path, raw, size, mtime, problem in self.db.execute(
            "SELECT path, raw, size, mtime, problem FROM files ORDER BY rowid"
        ):
            yield FileEntry(path, raw, size, mtime, problem)

    def files_named(self, name: str) -> list[FileEntry]:
        """The files with this name, in whichever folders, sorted by path; in whichever form of Unicode."""
        rows = self.db.execute(
            "SELECT path, raw, size, mtime, problem FROM files WHERE name = ? ORDER BY path",
            (composed(name),),
        )
        return [FileEntry(*row) for row in rows]

    def files_folded(self, name: str) -> list[FileEntry]:
        """The files whose name is this, or is it without its ending, but for upper and lower case."""
        self.db.create_function("fold", 1, str.casefold, deterministic=True)
        self.db.execute("CREATE INDEX IF NOT EXISTS files_by_folded ON files (fold(name))")
        key = composed(name).casefold()
        rows = self.db.execute(
            "SELECT path, raw, size, mtime, problem FROM files "
            "WHERE fold(name) = ? OR (fold(name) > ? AND fold(name) < ?) ORDER BY path",
            (key, f"{key}.", f"{key}/"),
        )
        entries = [FileEntry(*row) for row in rows]
        names = [composed(entry.path.rpartition("/")[2]).casefold() for entry in entries]
        return [e for e, own in zip(entries, names, strict=True) if key in (own, own.rpartition(".")[0])]

    def files_with_stem(self, stem: str) -> list[FileEntry]:
        """The files whose name without its ending is this, in whichever folders, sorted by path."""
        # "/" is the letter after ".": all names that begin with the stem and a dot.
        stem = composed(stem)
        rows = self.db.execute(
            "SELECT path, raw, size, mtime, problem FROM files WHERE name > ? AND name < ? ORDER BY path",
            (f"{stem}.", f"{stem}/"),
        )
        entries = [FileEntry(*row) for row in rows]
        return [one for one in entries if composed(one.path.rpartition("/")[2]).rpartition(".")[0] == stem]

    def set_origin(self, shown_input: str) -> None:
        """Says which INPUT it is about; what was remembered of another one is dropped."""
        if self.db.execute("SELECT input FROM origin").fetchall() != [(shown_input,)]:
            self.db.execute("DELETE FROM hashes")
            self.db.execute("DELETE FROM origin")
            self.db.execute("INSERT INTO origin VALUES (?)", (shown_input,))
            self.db.commit()

    def distrust_hashes(self) -> None:
        """Makes the next run hash everything again: a file changed, and neither its size nor its time did.

        The rows stay, without a hash: those that a former ingest published are not taken over again.
        """
        self.db.execute("UPDATE hashes SET hash = NULL")
        self.db.commit()

    def remember_hashes(self, rows: Iterable[tuple[str, int, int, bytes]]) -> None:
        """Takes over (path, size, mtime, SHA-256) that a former ingest found; newer knowledge stays."""
        self.db.executemany("INSERT OR IGNORE INTO hashes VALUES (?, ?, ?, ?)", rows)
        self.db.commit()

    def add(self, found: Iterable[Found]) -> int:
        """Stores what a source found; returns how many inputs there are, all that it gave."""
        count = 0
        for one in found:
            count += 1
            if isinstance(one, Reject):
                self.reject(one.path, one.reason)
            elif isinstance(one, LeftOut):
                self.leave_out(one.path, one.reason, is_input=True)
            elif problem := _find_problem(one.truth):
                self.reject(one.path, problem)
            else:
                self.truth = type(one.truth)
                self.db.execute(
                    "INSERT INTO items (path, file, offset, size, mtime, shape, truth, brought) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (one.path, one.file, one.offset, one.size_bytes, one.stamp, shape_text(one.shape),
                     one.truth.to_text(), one.split),
                )  # fmt: skip
        self.db.execute(
            "UPDATE items SET hash = (SELECT h.hash FROM hashes h WHERE h.path = items.path AND h.size = "
            "items.size "
            "AND h.mtime = items.mtime) WHERE offset IS NULL"
        )
        self.db.commit()
        return count

    def set_class_names(self, names: Iterable[str]) -> None:
        """Says what the classes are and in which order, also those without a picture.

        For data that has such a list. Without, the classes are those that have a picture, by name.

        Raises DataRefusedError for a name that is there twice or cannot be used.
        """
        names, seen = list(names), set()
        for name in names:
            if problem := label_problem(name) or ("it is there twice" if name in seen else ""):
                raise DataRefusedError(f"The list of classes: {name!r}: {problem}.")
            seen.add(name)
        self.db.execute("DELETE FROM classes")
        self.db.executemany("INSERT INTO classes VALUES (?)", ((name,) for name in names))

    def keep_order(self, former: list[str]) -> None:
        """Keeps the order in which a former ingest had the same classes, where the data bring no list."""
        listed = self.db.execute("SELECT 1 FROM classes LIMIT 1").fetchone()
        if listed is None and former != self.class_names() and set(former) == set(self.class_names()):
            self.set_class_names(former)

    def class_names(self) -> list[str]:
        """The classes, in the order of their labels."""
        listed = [name for (name,) in self.db.execute("SELECT name FROM classes ORDER BY rowid")]
        if listed:
            return listed
        query = f"SELECT DISTINCT name FROM ({self.truth.shown})"
        return sorted_classes(name for (name,) in self.db.execute(query))

    def use(self, path: str) -> bool:
        """Notes that an annotation has told what the file is; False if another one has done so before."""
        return self.db.execute("INSERT OR IGNORE INTO used VALUES (?)", (path,)).rowcount == 1

    def count_used(self) -> int:
        """How many files `use` was told of."""
        return int(self.db.execute("SELECT count(*) FROM used").fetchone()[0])

    def is_used(self, path: str) -> bool:
        """Whether `use` was told of the file."""
        return self.db.execute("SELECT 1 FROM used WHERE path = ?", (path,)).fetchone() is not None

    def reject(self, path: str, reason: str, *, is_box: bool = False) -> None:
        """Notes an input that cannot be used: a picture, or a box of one that can."""
        self.db.execute("INSERT INTO rejects VALUES (?, ?, ?)", (path, reason, is_box))

    def leave_out(self, path: str, reason: str, *, is_input: bool = False) -> None:
        """Notes what is not read; is_input: the source counts it among its inputs."""
        self.db.execute("INSERT INTO left_out VALUES (?, ?, ?)", (path, reason, is_input))

    def left_out(self) -> list[tuple[str, str]]:
        """(path, reason) of what is not read, sorted."""
        return list(self.db.execute("SELECT path, reason FROM left_out ORDER BY path, reason"))

    def warn(self, text: str) -> None:
        """Notes a sentence that the user is told at the end, once."""
        self.db.execute("INSERT OR IGNORE INTO warnings VALUES (?)", (text,))

    def warnings(self) -> list[str]:
        """What `warn` was given, in its order."""
        return [text for (text,) in self.db.execute("SELECT text FROM warnings ORDER BY rowid")]

    def check_counts(self, listed: int) -> None:
        """Raises MiranteError unless images, rejects and what is left out are what the input lists.

        Args:
            listed: How many images the input lists, whatever becomes of them.
        """
        query = (
            "SELECT (SELECT count(*) FROM items WHERE rejected = 0), "
            "(SELECT count(*) FROM rejects WHERE is_box = 0), "
            "(SELECT count(*) FROM left_out WHERE is_input)"
        )
        images, rejected, left_out = self.db.execute(query).fetchone()
        if images + rejected + left_out != listed:
            raise MiranteError(
                f"the counts do not add up: the input lists {listed}, and there are {images} images, "
                f"{rejected} rejects and {left_out} left out. Nothing was published. That is a fault of "
                "Mirante: report it with these numbers and the kind of the data"
            )

    def drop_item(self, item_id: int, reason: str) -> None:
        """Takes an item that cannot be read out of the plan."""
        (path,) = self.db.execute("SELECT path FROM items WHERE id = ?", (item_id,)).fetchone()
        self.db.execute("DELETE FROM items WHERE id = ?", (item_id,))
        self.reject(path, reason)

    def set_hashes(self, rows: list[tuple[int, bytes]]) -> None:
        """(id, SHA-256) of items; those of whole files are remembered for a run after this one."""
        self.db.executemany("UPDATE items SET hash = ? WHERE id = ?", ((digest, key) for key, digest in rows))
        self.db.executemany(
            "INSERT OR REPLACE INTO hashes SELECT path, size, mtime, hash FROM items WHERE id = ? AND offset "
            "IS NULL",
            ((key,) for key, _ in rows),
        )

    def formats(self) -> set[str]:
        """The formats of the image files, by their names' endings."""
        self.db.create_function("ending_of", 1, _ending_of, deterministic=True)
        found = self.db.execute(
            "SELECT DISTINCT ending_of(path) FROM items WHERE offset IS NULL AND shape IS NULL"
        )
        return {ending for (ending,) in found}

    def set_alike(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """(SHA-256, SHA-256) of images of other bytes that look the same."""
        self.db.executemany("INSERT INTO alike VALUES (?, ?)", pairs)
        self.db.commit()

    def count_rejects(self, *, of_boxes: bool | None = None) -> int:
        """How many inputs cannot be used: pictures, boxes, or (None) both."""
        where = "" if of_boxes is None else f" WHERE is_box = {int(of_boxes)}"
        return int(self.db.execute(f"SELECT count(*) FROM rejects{where}").fetchone()[0])

    def rejects(self) -> list[tuple[str, str]]:
        """(path, reason), sorted."""
        return list(self.db.execute("SELECT path, reason FROM rejects ORDER BY path, reason"))


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path)
    # Killing the process cannot hurt the file, only the machine can; then it is made again.
    db.execute("PRAGMA synchronous = OFF")
    db.executescript(_SCHEMA)
    return db
