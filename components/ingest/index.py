"""What an ingest knows about its inputs, in an SQLite file: memory does not grow with the number of images.

It lives in the staging folder. After an ingest was killed, the hashes in it are what need not be computed
again; everything else is made anew from the inputs.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from components.base.errors import DataRefusedError, MiranteError
from components.ingest.class_names import sort_classes
from components.ingest.examine import Examined
from components.ingest.file_table import SCHEMA, FileTable
from components.ingest.files import label_problem
from components.ingest.item import Found, LeftOut, Reject, shape_text
from components.ingest.manifest import InputRow
from components.ingest.truth import Label, Truth

_SCHEMA = """
CREATE TABLE IF NOT EXISTS examined (
    path TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, hash BLOB, form TEXT, look BLOB,
    largest INTEGER, rule TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS origin (input TEXT);
DROP TABLE IF EXISTS items;
DROP TABLE IF EXISTS rejects;
DROP TABLE IF EXISTS classes;
DROP TABLE IF EXISTS used;
DROP TABLE IF EXISTS left_out;
DROP TABLE IF EXISTS warnings;
DROP TABLE IF EXISTS looked_up;
DROP TABLE IF EXISTS alike;
CREATE TABLE items (
    id INTEGER PRIMARY KEY, path TEXT, file BLOB, offset INTEGER, size INTEGER, mtime INTEGER, shape TEXT,
    truth TEXT, brought TEXT, grouped TEXT, hash BLOB, form TEXT,
    look BLOB, largest INTEGER, rule TEXT, unit BLOB, split TEXT, shard INTEGER,
    rejected INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE rejects (path TEXT, reason TEXT, is_box INTEGER);
CREATE TABLE classes (name TEXT PRIMARY KEY);
CREATE TABLE used (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE left_out (path TEXT, reason TEXT, is_input INTEGER);
CREATE TABLE warnings (text TEXT PRIMARY KEY);
CREATE TABLE alike (one BLOB, other BLOB, how TEXT);
CREATE TABLE looked_up (path TEXT, name TEXT, how TEXT, PRIMARY KEY (path, name)) WITHOUT ROWID;
"""


def _find_problem(truth: Truth) -> str:
    """Return why a class of an image cannot be used; "" if all can."""
    return next(filter(None, map(label_problem, truth.classes)), "")


class Index:
    """The tables; one process writes, workers read after everything is committed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.db = _open(path)
        except sqlite3.DatabaseError:
            # Cut off by a power loss: it holds nothing that cannot be computed again.
            path.unlink()
            self.db = _open(path)
        self.files = FileTable(self.db)
        # Which kind of truth the items have; known from the first one on.
        self.truth: type[Truth] = Label

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def set_origin(self, origin: str) -> None:
        """Say what it is about and how that is examined; what was remembered of another origin is dropped."""
        if self.db.execute("SELECT input FROM origin").fetchall() != [(origin,)]:
            self.db.execute("DELETE FROM examined")
            self.db.execute("DELETE FROM origin")
            self.db.execute("INSERT INTO origin VALUES (?)", (origin,))
            self.db.commit()

    def distrust_hashes(self) -> None:
        """Make the next run hash everything again: a file changed, and neither its size nor its time did.

        The rows stay, without a hash: those that a former ingest published are not taken over again.
        """
        self.db.execute("UPDATE examined SET hash = NULL")
        self.db.commit()

    def remember(self, rows: Iterable[InputRow]) -> None:
        """Take over what a former ingest found; newer knowledge stays."""
        self.db.executemany(
            "INSERT OR IGNORE INTO examined VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ((*row[:3], bytes.fromhex(row.sha256), row.form or None, *row[5:]) for row in rows if row.sha256),
        )
        self.db.commit()

    def add(self, found: Iterable[Found]) -> int:
        """Store what a source found; returns how many inputs there are, all that it gave."""
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
                    "INSERT INTO items (path, file, offset, size, mtime, shape, truth, brought, grouped) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (one.path, one.file, one.offset, one.size_bytes, one.stamp, shape_text(one.shape),
                     one.truth.to_text(), one.split, one.group),
                )  # fmt: skip
        self.db.execute(
            "UPDATE items SET (hash, form, look, largest, rule) = (SELECT h.hash, h.form, h.look, h.largest, "
            "h.rule FROM examined h WHERE h.path = items.path AND h.size = items.size AND "
            "h.mtime = items.mtime) WHERE offset IS NULL"
        )
        self.db.commit()
        return count

    def set_class_names(self, names: Iterable[str]) -> None:
        """Say what the classes are and in which order, also those without an image.

        For data that has such a list. Without, the classes are those that have an image, by name.

        Raises:
            DataRefusedError: A name is there twice, or cannot be used.
        """
        names, seen = list(names), set()
        for name in names:
            if problem := label_problem(name) or ("it is there twice" if name in seen else ""):
                raise DataRefusedError(f"The list of classes: {name!r}: {problem}")
            seen.add(name)
        self.db.execute("DELETE FROM classes")
        self.db.executemany("INSERT INTO classes VALUES (?)", ((name,) for name in names))

    def keep_order(self, former: list[str]) -> None:
        """Keeps the order in which a former ingest had the same classes, where the data bring no list."""
        listed = self.db.execute("SELECT 1 FROM classes LIMIT 1").fetchone()
        if listed is None and former != self.class_names() and set(former) == set(self.class_names()):
            self.set_class_names(former)

    def class_names(self) -> list[str]:
        """Return the classes, in the order of their labels."""
        listed = [name for (name,) in self.db.execute("SELECT name FROM classes ORDER BY rowid")]
        if listed:
            return listed
        query = f"SELECT DISTINCT name FROM ({self.truth.shown})"
        return sort_classes(name for (name,) in self.db.execute(query))

    def use(self, path: str) -> bool:
        """Note that an annotation has told what the file is; False if another one has done so before."""
        return self.db.execute("INSERT OR IGNORE INTO used VALUES (?)", (path,)).rowcount == 1

    def count_used(self) -> int:
        """Return the number of files that `use` got."""
        return int(self.db.execute("SELECT count(*) FROM used").fetchone()[0])

    def is_used(self, path: str) -> bool:
        """Return whether `use` got the file."""
        return self.db.execute("SELECT 1 FROM used WHERE path = ?", (path,)).fetchone() is not None

    def reject(self, path: str, reason: str, *, is_box: bool = False) -> None:
        """Note an input that cannot be used: an image, or a box of one that can."""
        self.db.execute("INSERT INTO rejects VALUES (?, ?, ?)", (path, reason, is_box))

    def leave_out(self, path: str, reason: str, *, is_input: bool = False) -> None:
        """Note what is not read; is_input: the source counts it among its inputs."""
        self.db.execute("INSERT INTO left_out VALUES (?, ?, ?)", (path, reason, is_input))

    def left_out(self) -> list[tuple[str, str]]:
        """Return (path, reason) of what is not read, sorted."""
        return list(self.db.execute("SELECT path, reason FROM left_out ORDER BY path, reason"))

    def warn(self, text: str) -> None:
        """Note a sentence that the user reads at the end, once."""
        self.db.execute("INSERT OR IGNORE INTO warnings VALUES (?)", (text,))

    def warnings(self) -> list[str]:
        """Return what `warn` was given, in its order."""
        return [text for (text,) in self.db.execute("SELECT text FROM warnings ORDER BY rowid")]

    def input_rows(self) -> Iterator[InputRow]:
        """Yield a row for each file, in the order of the walk."""
        for path, size, stamp, digest, form, *rest in self.db.execute(
            "SELECT f.path, f.size, f.mtime, h.hash, h.form, h.look, h.largest, h.rule FROM files f "
            "LEFT JOIN examined h ON h.path = f.path AND h.size = f.size AND h.mtime = f.mtime "
            "ORDER BY f.rowid"
        ):
            yield InputRow(path, size, stamp, digest.hex() if digest else "", form or "", *rest)

    def check_counts(self, listed: int) -> None:
        """Check that images, rejects and what is left out add up to what the input lists.

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
        """Take an item that cannot be read out of the plan."""
        (path,) = self.db.execute("SELECT path FROM items WHERE id = ?", (item_id,)).fetchone()
        self.db.execute("DELETE FROM items WHERE id = ?", (item_id,))
        self.reject(path, reason)

    def set_examined(self, rows: list[Examined]) -> None:
        """Note what was found in items; that of whole files is remembered for a run after this one."""
        self.db.executemany(
            "UPDATE items SET hash = ?, form = ?, look = ?, largest = ?, rule = ? WHERE id = ?",
            ((row.sha256, row.form, row.look, row.largest, row.rule, row.key) for row in rows),
        )
        self.db.executemany(
            "INSERT OR REPLACE INTO examined SELECT path, size, mtime, hash, form, look, largest, rule "
            "FROM items WHERE id = ? AND offset IS NULL",
            ((row.key,) for row in rows),
        )

    def find_largest(self) -> tuple[int, str] | None:
        """Return the largest `Examined.largest` and the first path that has it; None if none has any."""
        row: tuple[int, str] | None = self.db.execute(
            "SELECT largest, path FROM items WHERE largest IS NOT NULL ORDER BY largest DESC, path LIMIT 1"
        ).fetchone()
        return row

    def look_again(self, rule: str) -> None:
        """Have the items with 16 bits per channel that another rule was used for examined again."""
        self.db.execute("UPDATE items SET hash = NULL WHERE largest IS NOT NULL AND rule != ?", (rule,))
        self.db.commit()

    def set_alike(self, pairs: Iterable[tuple[bytes, bytes, str]]) -> None:
        """Note (SHA-256, SHA-256, how) of images with different bytes that are the same image."""
        self.db.executemany("INSERT INTO alike VALUES (?, ?, ?)", pairs)
        self.db.commit()

    def count_rejects(self, *, of_boxes: bool | None = None) -> int:
        """Return how many inputs cannot be used: images, boxes, or (None) both."""
        where = "" if of_boxes is None else f" WHERE is_box = {int(of_boxes)}"
        return int(self.db.execute(f"SELECT count(*) FROM rejects{where}").fetchone()[0])

    def rejects(self) -> list[tuple[str, str]]:
        """Return (path, reason), sorted."""
        return list(self.db.execute("SELECT path, reason FROM rejects ORDER BY path, reason"))


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path)
    # Killing the process cannot hurt the file, only the machine can; then it is made again.
    db.execute("PRAGMA synchronous = OFF")
    db.executescript(SCHEMA + _SCHEMA)
    return db
