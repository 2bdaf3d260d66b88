"""Finds the image that a name in a list (a CSV, COCO's JSON) means.

Names are compared in one form of Unicode. What is tried, one after the other:

    the name        in the list's folder, then in the folders below it, then in all of INPUT
    its last parts  of a path that leads elsewhere: another machine's, or one with folders that are not here
    no ending       `1` is 1.jpg
    other case      `1.JPG` is 1.jpg

The user reads which names were not found (`conclude_lookups`); one that fits several files is refused.
"""

import functools
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from components.base.errors import DataRefusedError
from components.base.printable import printable
from components.base.words import format_count
from components.ingest.file_table import fold_name
from components.ingest.files import IMAGE_ENDINGS, FileEntry, compose_name
from components.ingest.index import Index
from components.ingest.sources.context import SourceContext

_NAMES_SHOWN = 3
_ANSWERS_KEPT = 1024
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DRIVE = re.compile(r"[A-Za-z]:(?=/)")
_LETTERS = re.compile(r"[A-Za-z]+")
# How a name was matched, and what is said of one name that was, and of several.
_EXACT, _ELSEWHERE, _ENDING, _CASE, _UPLOAD = "exact", "elsewhere", "ending", "case", "upload"
_SAID = {
    _ELSEWHERE: (
        "leads to folders that are not here, and was matched by its last parts",
        "lead to folders that are not here, and were matched by their last parts",
    ),
    _ENDING: ("has no file ending", "have no file ending"),
    _CASE: (
        "differs from its file's in upper and lower case",
        "differ from their files' in upper and lower case",
    ),
    _UPLOAD: (
        "has the prefix of an upload to Label Studio, and was matched without it",
        "have the prefix of an upload to Label Studio, and were matched without it",
    ),
}

Folders = tuple[str, ...]


class _Form(NamedTuple):
    """A form of a name that a file may have; `how` is what is said of names that were found by it."""

    how: str
    any_ending: bool = False
    any_case: bool = False


_FORMS = (_Form(_EXACT), _Form(_CASE, any_case=True))
_FORMS_WITHOUT_ENDING = (
    _FORMS[0], _Form(_ENDING, any_ending=True), _FORMS[1], _Form(_CASE, any_ending=True, any_case=True),
)  # fmt: skip


class _Place(NamedTuple):
    """Where a file may be.

    Attributes:
        base: The folders that it is in or below.
        folders: Its last folders.
        is_whole: Whether it is in no other folders than these two together.
        is_guess: Whether the name has other folders than these.
    """

    base: Folders
    folders: Folders
    is_whole: bool = False
    is_guess: bool = False


class _Few:
    """A count of files, and the first two of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[FileEntry] = []

    def add(self, entry: FileEntry) -> None:
        """Add a file."""
        self.count += 1
        if len(self.first) < 2:
            self.first.append(entry)


class Lookup:
    """Looks next to the list, then in the folders below; for a list next to the images' folders, in them.

    Args:
        context: Of the source.
        table: The list.
    """

    def __init__(self, context: SourceContext, table: Path) -> None:
        self._context = context
        self._files = context.index.files
        # Names of many files: a list may have each of them a hundred thousand times.
        self._one = functools.lru_cache(_ANSWERS_KEPT)(self._find_one)
        self._near = functools.lru_cache(_ANSWERS_KEPT)(self._find_near)
        is_inside = table.parent.is_relative_to(context.root)
        beside = table.parent.relative_to(context.root).parts if is_inside else ()
        self._beside: Folders = tuple(map(compose_name, beside))
        self._bases = list(dict.fromkeys((self._beside, ())))
        letters = _LETTERS.match(table.name)
        self._split = context.split_named(letters.group()) if letters else None
        self._roots = [
            f"{compose_name(os.path.normpath(root))}/"
            for root in (os.path.abspath(context.root), os.path.realpath(context.root))
        ]

    def find(self, name: str, split: str | None = None) -> FileEntry | str:
        """Return the file, or why there is none.

        Of several files with the name, the one in a folder of the split's name is meant; where no split is
        given, of the split that the list's own name begins with.
        """
        folders, last, anchored, outside = self._parts(compose_name(name.strip()))
        if not last:
            return "no file name"
        split = split or self._split
        for form in _forms(last):
            for place in self._places(folders, anchored, outside):
                found = self._one(last, form, place, split)
                if isinstance(found, FileEntry):
                    how = _ELSEWHERE if form.how == _EXACT and place.is_guess else form.how
                    self._note(found, name, how)
                    return found
                if found:
                    return found
        near = self._near(last)
        if near:
            return f"no such file; {printable(near)} has its name and is in another folder"
        return "no such file" if not outside else (
            "the name leads out of the folder of its list, and no file in that has this name"
        )  # fmt: skip

    def note_upload(self, entry: FileEntry, found_by: str, name: str) -> None:
        """Say that a file was found by its name before an upload, which the list calls `name`."""
        self._context.index.db.execute(
            "UPDATE OR IGNORE looked_up SET name = ?, how = ? WHERE path = ? AND name = ?",
            (name, _UPLOAD, entry.path, found_by),
        )

    def _parts(self, name: str) -> tuple[Folders, str, bool, bool]:
        """Folders and last part of a name; whether they begin at the root; whether they lead out of it."""
        plain = name.replace("\\", "/")
        anchored = False
        outside = _URL.match(plain) or _DRIVE.match(plain)
        if outside:
            plain = plain[outside.end() :]
        elif plain.startswith("/"):
            plain = os.path.normpath(plain)
            inside = next((plain[len(root) :] for root in self._roots if plain.startswith(root)), None)
            anchored = inside is not None
            plain = plain if inside is None else inside
        leads_out = bool(outside) or plain.startswith("/")
        parts = [part for part in plain.split("/") if part not in ("", ".")]
        if ".." in parts and not leads_out:
            stack, anchored = list(self._beside), True
            for part in parts:
                if part != "..":
                    stack.append(part)
                elif stack:
                    stack.pop()
                else:
                    anchored, leads_out = False, True
            parts = stack
        parts = [part for part in parts if part != ".."]
        return tuple(parts[:-1]), parts[-1] if parts else "", anchored, leads_out

    def _places(self, wanted: Folders, anchored: bool, outside: bool) -> Iterator[_Place]:
        """Yield where the file of a name may be, the likeliest first."""
        if anchored:
            yield _Place((), wanted, is_whole=True)
        for base in self._bases:
            yield _Place(base, wanted, is_whole=True)
            yield _Place(base, wanted)
        # No file is in more folders than this.
        shorter = range(max(1, len(wanted) - self._files.depth), len(wanted) + 1)
        for base in self._bases:
            # The whole of where the file is here is in the name: /home/me/train/1.jpg for train/1.jpg.
            for at in shorter:
                yield _Place(base, wanted[at:], is_whole=True, is_guess=True)
        for at in shorter if outside else ():
            yield _Place((), wanted[at:], is_guess=True)

    def _find_one(self, last: str, form: _Form, place: _Place, split: str | None) -> FileEntry | str:
        """Return the file that is meant; else why none of several is, or "" if there is none."""
        matches = self._matches(last, form, place)
        first = list(itertools.islice(matches, 2))
        if len(first) < 2:
            return first[0] if first else ""
        all_files, of_split = _Few(), _Few()
        for entry in itertools.chain(first, matches):
            all_files.add(entry)
            if split is not None and self._is_in_split(entry, split):
                of_split.add(entry)
        few = of_split if of_split.count else all_files
        if few.count == 1:
            return few.first[0]
        one, other = (printable(entry.path) for entry in few.first)
        return f"ambiguous: {few.count} files have this name, {one} and {other} among them"

    def _matches(self, last: str, form: _Form, place: _Place) -> Iterator[FileEntry]:
        """Yield the files that a name means in one form at one place."""
        folders = (*place.base, *place.folders) if place.is_whole else place.folders
        for entry in self._files.find(last, folders, place.is_whole, form.any_ending, form.any_case):
            is_below = not place.base or place.is_whole or _is_below(entry, place, form)
            if is_below and (not form.any_ending or entry.path.lower().endswith(IMAGE_ENDINGS)):
                yield entry

    def _find_near(self, last: str) -> str:
        """Return the path of a file that has the name, wherever it is; "" if none has."""
        for form in _forms(last):
            for entry in self._matches(last, form, _Place((), ())):
                return entry.path
        return ""

    def _is_in_split(self, entry: FileEntry, split: str) -> bool:
        """Return whether a file is in a folder whose name begins with the split's, as train_images does."""
        told = split_of_folders(self._context, entry.path)
        words = (_LETTERS.match(folder) for folder in entry.path.split("/")[:-1])
        return split == told or any(
            split == self._context.split_named(word.group()) for word in words if word
        )

    def _note(self, entry: FileEntry, name: str, how: str) -> None:
        self._context.index.db.execute(
            "INSERT OR IGNORE INTO looked_up VALUES (?, ?, ?)", (entry.path, name, how)
        )


def conclude_lookups(index: Index) -> None:
    """Warn about names that are not quite their files'.

    Raises:
        DataRefusedError: Two such names stand for one file: it cannot be both.
    """
    guessed = index.db.execute("SELECT 1 FROM looked_up WHERE how != ? LIMIT 1", (_EXACT,)).fetchone()
    if guessed is None:
        return
    for path, names in index.db.execute(
        "SELECT path, group_concat(name, ' and ') FROM looked_up GROUP BY path "
        "HAVING count(*) > 1 AND sum(how != ?) > 0 LIMIT 1",
        (_EXACT,),
    ):
        raise DataRefusedError(
            f"{printable(path)}: several names of the list stand for it ({printable(names)[:300]}), and not "
            "all of them are its own; which file each means is not known. Correct the names in the list"
        )
    for how, (one, many) in _SAID.items():
        (count,) = index.db.execute("SELECT count(*) FROM looked_up WHERE how = ?", (how,)).fetchone()
        first = index.db.execute(
            "SELECT name, path FROM looked_up WHERE how = ? ORDER BY path LIMIT ?", (how, _NAMES_SHOWN)
        )
        shown = ", ".join(f"{printable(name)!r} is {printable(path)}" for name, path in first)
        if count:
            names = format_count(count, f"name of the list {one}", f"names of the list {many}")
            index.warn(f"{names}: {shown}{', ...' if count > _NAMES_SHOWN else ''}.")


def _is_below(entry: FileEntry, place: _Place, form: _Form) -> bool:
    """Return whether a file that is in a place's last folders has them below its base."""
    fold = fold_name if form.any_case else compose_name
    folders = [fold(folder) for folder in entry.path.split("/")[:-1]]
    base = list(map(fold, place.base))
    return folders[: len(base)] == base and len(folders) >= len(base) + len(place.folders)


def _forms(last: str) -> tuple[_Form, ...]:
    """Return the forms that are tried for a name, in order."""
    return _FORMS if last.lower().endswith(IMAGE_ENDINGS) else _FORMS_WITHOUT_ENDING


def split_of_list(context: SourceContext, path: str) -> str | None:
    """Return the split of the first word in a list's name that is a split's, else that of its folders."""
    words = _LETTERS.findall(path.rpartition("/")[2])
    return next(filter(None, map(context.split_named, words)), None) or split_of_folders(context, path)


def split_of_folders(context: SourceContext, path: str) -> str | None:
    """Return the split of the first folder above a file that has a split's name, as train2017 has."""
    for folder in path.split("/")[:-1]:
        split = context.split_named(folder) or context.split_named(folder.rstrip("0123456789"))
        if split is not None:
            return split
    return None
