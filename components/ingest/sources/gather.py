r"""Puts boxes that are listed one by one, in any order, together by image; on disk, not in memory.

Names in lists are looked up as components.ingest.sources.lookup does. If there is no such file, folders that
are not in INPUT are passed over, from the left: C:\data\cats\1.png, or ../upload/3/1.png of an export, is
the only 1.png, or the one in cats/. Two names that mean one file that way are ambiguous.
"""

import functools
import json
from collections.abc import Collection, Iterator
from pathlib import Path

from components.base.printable import printable
from components.base.words import format_some
from components.ingest.files import FileEntry
from components.ingest.item import Item, Reject
from components.ingest.readings import Size
from components.ingest.sources.context import SourceContext
from components.ingest.sources.exported_names import spellings
from components.ingest.sources.lookup import Lookup
from components.ingest.truth import Boxes
from components.ingest.truth.placing import Box
from components.ingest.values import brief

_TABLES = """
CREATE TEMP TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY, key TEXT UNIQUE, path TEXT, file BLOB, size INTEGER, mtime INTEGER, split TEXT,
    annotated TEXT, told_in TEXT, problem TEXT, name TEXT, guessed INTEGER, grouped TEXT
);
CREATE INDEX IF NOT EXISTS temp.images_by_path ON images (path);
CREATE TEMP TABLE IF NOT EXISTS image_boxes (key TEXT, box TEXT);
CREATE INDEX IF NOT EXISTS temp.boxes_by_image ON image_boxes (key);
CREATE TEMP TABLE IF NOT EXISTS boxless (key TEXT, label TEXT, told_in TEXT);
"""


class Names:
    """Finds the files that the names in a list mean.

    Args:
        context: The source's.
        table: The list.
    """

    def __init__(self, context: SourceContext, table: Path) -> None:
        self._index = context.index
        self._lookup = Lookup(context, table)

    def find(self, name: str, split: str | None) -> FileEntry | str:
        """Return the file, or why there is none."""
        reason = ""
        for spelling, is_upload in spellings(name):
            found = self._find(spelling, split)
            if not _is_missing(found):
                if is_upload and isinstance(found, FileEntry):
                    self._lookup.note_upload(found, spelling, name)
                return found
            reason = reason or str(found)
        return reason

    def _find(self, name: str, split: str | None) -> FileEntry | str:
        found = self._lookup.find(name, split)
        parts = _parts(name)
        while _is_missing(found) and len(parts) > 1 and parts[0].casefold() not in self._folders:
            parts = parts[1:]
            if ".." not in parts:
                shorter = self._lookup.find("/".join(parts), split)
                found = found if _is_missing(shorter) else shorter
        return found

    @functools.cached_property
    def _folders(self) -> set[str]:
        """The names of all folders in INPUT."""
        return {folder.casefold() for entry in self._index.files for folder in entry.path.split("/")[:-1]}


def _is_missing(found: FileEntry | str) -> bool:
    return isinstance(found, str) and not found.startswith("ambiguous")


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]


def is_guessed(name: str, found: FileEntry | str) -> bool:
    """Return whether a name means a file that is called otherwise, by folders that were passed over."""
    return isinstance(found, FileEntry) and not f"/{found.path}".endswith("/" + "/".join(_parts(name)))


class Gathered:
    """The images of some lists, and the boxes of each.

    An image has a key, which is its own. An image with a problem becomes a reject, once, whatever else is
    told of it.
    """

    def __init__(self, context: SourceContext) -> None:
        self._context = context
        self._db = context.index.db
        self._db.executescript(_TABLES)

    def find_told(self, key: str) -> tuple[Size | None, str] | None:
        """Return the size and the place in the list that an image was added with; None where it was not."""
        row = self._db.execute("SELECT annotated, told_in FROM images WHERE key = ?", (key,)).fetchone()
        return None if row is None else (_size_from(row[0]), row[1])

    def add_image(
        self,
        key: str,
        name: str,
        found: FileEntry | str,
        split: str | None,
        size: Size | None,
        told_in: str,
        group: str | None = None,
    ) -> None:
        """Add an image that the list calls `name`; found: its file, or why there is none."""
        entry = FileEntry(name, b"", 0, 0, found) if isinstance(found, str) else found
        problem = f"{entry.problem} ({told_in})" if entry.problem else None
        self._db.execute(
            "INSERT INTO images (key, path, file, size, mtime, split, annotated, told_in, problem, name, "
            "guessed, grouped) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (key, entry.path, self._context.absolute(entry.raw), entry.size_bytes, entry.stamp, split,
             json.dumps(size), told_in, problem, name, is_guessed(name, found), group),
        )  # fmt: skip

    def spoil(self, key: str, problem: str) -> None:
        """Say why an image cannot be used; what was said of it first stays."""
        self._db.execute("UPDATE images SET problem = ? WHERE key = ? AND problem IS NULL", (problem, key))

    def add_box(self, key: str, box: Box) -> None:
        """Add a box of an image."""
        values = [box.label, *box.sides, box.difficult, box.truncated]
        self._db.execute("INSERT INTO image_boxes VALUES (?, ?)", (key, json.dumps(values)))

    def add_boxless(self, key: str, label: str, told_in: str) -> None:
        """Add that an image has a class and no box."""
        self._db.execute("INSERT INTO boxless VALUES (?, ?, ?)", (key, label, told_in))

    def conclude_boxless(self, labels: Collection[str]) -> None:
        """Decide what a class without a box means: nothing is on the image, unless others have its box.

        Args:
            labels: The classes that have a box.
        """
        nothing = dict[str, int]()
        for label, count in self._db.execute(
            "SELECT label, count(DISTINCT key) FROM boxless GROUP BY label ORDER BY label"
        ):
            if label not in labels:
                nothing[label] = count
                continue
            advice = "add its box, or leave the class empty if nothing is on the image"
            problem = f"a class without a box, {brief(label)}, which has boxes in other rows: {advice}"
            rows = self._db.execute(
                "SELECT key, told_in FROM boxless WHERE label = ? ORDER BY rowid", (label,)
            )
            for key, told_in in rows:
                self.spoil(key, f"{problem} ({told_in})")
        if nothing:
            shown = format_some([f"{printable(label)} {count:,}" for label, count in nothing.items()], 5)
            self._context.index.warn(
                f"Images are listed with a class and without a box ({shown}), and no row has a box of such "
                "a class: they are read as images without objects."
            )

    def inputs(self, *, in_shares: bool = False) -> Iterator[Item | Reject]:
        """Yield the images with their boxes, both in the order in which they were added."""
        self._db.execute(
            "UPDATE images SET problem = 'ambiguous: it may be ' || name || ' and ' || other.called || "
            "' of the list (' || told_in || ')' FROM (SELECT path AS there, name AS called FROM images) AS "
            "other WHERE guessed AND problem IS NULL AND path = there AND name <> called"
        )
        for key, path, file, size, mtime, split, annotated, problem, group in self._db.execute(
            "SELECT key, path, file, size, mtime, split, annotated, problem, grouped FROM images ORDER BY id"
        ):
            if problem is not None:
                yield Reject(path, problem)
                continue
            boxes = self._db.execute("SELECT box FROM image_boxes WHERE key = ? ORDER BY rowid", (key,))
            yield Item(
                path=path,
                file=file,
                size_bytes=size,
                stamp=mtime,
                split=split,
                group=group,
                truth=Boxes(
                    tuple(Box(*json.loads(text)) for (text,) in boxes), _size_from(annotated), in_shares
                ),
            )


def _size_from(text: str) -> Size | None:
    read = json.loads(text)
    return None if read is None else (read[0], read[1])
