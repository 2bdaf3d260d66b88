"""Finds the image that a name in a list (a CSV, COCO's JSON) means.

Names are compared in one form of Unicode. What is tried, one after the other:

    the name        in the list's folder, then in the folders below it, then in all of INPUT
    its last parts  of a path that leads elsewhere: another machine's, or one with folders that are not here
    no ending       `1` is 1.jpg
    other case      `1.JPG` is 1.jpg

The user reads which names were not found as they are (`conclude_lookups`); a name that fits several files is
refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from components.base.errors import DataRefusedError
from components.base.printable import printable
from components.ingest.files import IMAGE_ENDINGS, FileEntry, compose_name
from components.ingest.index import Index
from components.ingest.sources.context import SourceContext

_NAMES_SHOWN = 3
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DRIVE = re.compile(r"[A-Za-z]:(?=/)")
_LETTERS = re.compile(r"[A-Za-z]+")
# How a name was matched, and what is said of names that were.
_EXACT, _ELSEWHERE, _ENDING, _CASE, _UPLOAD = "exact", "elsewhere", "ending", "case", "upload"
_SAID = {
    _ELSEWHERE: "lead to folders that are not here, and were matched by their last parts",
    _ENDING: "have no file ending",
    _CASE: "differ from their files' in upper and lower case",
    _UPLOAD: "have the prefix of an upload to Label Studio, and were matched without it",
}

Folders = tuple[str, ...]


class Lookup:
    """Looks next to the list, then in the folders below; for a list next to the images' folders, in them.

    Args:
        context: Of the source.
        table: The list.
    """

    def __init__(self, context: SourceContext, table: Path) -> None:
        self._context = context
        is_inside = table.parent.is_relative_to(context.root)
        beside = table.parent.relative_to(context.root).parts if is_inside else ()
        self._beside: Folders = tuple(map(compose_name, beside))
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
        beside = () if anchored else self._beside
        exact = [] if outside else self._context.index.files.find_path("/".join((*beside, *folders, last)))
        if len(exact) == 1:  # without a look at all files of its name, of which there may be many
            self._note(exact[0], name, _EXACT)
            return exact[0]
        near: list[FileEntry] = []
        for how, entries in self._candidates(last):
            found = self._choose(entries, folders, split, anchored, outside, folded=how == _CASE)
            if isinstance(found, tuple):
                entry, is_exact = found
                self._note(entry, name, how if how != _EXACT or is_exact else _ELSEWHERE)
                return entry
            if found:
                return found
            near = near or entries
        if near:
            return f"no such file; {printable(near[0].path)} has its name and is in another folder"
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

    def _candidates(self, last: str) -> Iterator[tuple[str, list[FileEntry]]]:
        index = self._context.index
        yield _EXACT, index.files.find_named(last)
        if not last.lower().endswith(IMAGE_ENDINGS):
            yield _ENDING, _images(index.files.find_by_stem(last))
        folded = index.files.find_folded(last)
        same = [e for e in folded if compose_name(e.path.rpartition("/")[2]).casefold() == last.casefold()]
        yield _CASE, same or ([] if last.lower().endswith(IMAGE_ENDINGS) else _images(folded))

    def _choose(
        self,
        entries: list[FileEntry],
        wanted: Folders,
        split: str | None,
        anchored: bool,
        outside: bool,
        folded: bool,
    ) -> tuple[FileEntry, bool] | str:
        """Return the file that is meant, and whether it has all folders of the name; else why none is."""
        if not entries:
            return ""
        found = [(_folders(entry), entry) for entry in entries]
        beside = self._beside
        if folded:
            found = [(_fold(folders), entry) for folders, entry in found]
            wanted, beside = _fold(wanted), _fold(beside)
        if anchored:
            exact = [entry for folders, entry in found if folders == wanted]
            if exact:
                return self._one(exact, split, is_exact=True)
        bases = dict.fromkeys((beside, ()))
        for base in bases:
            below = [(folders[len(base) :], e) for folders, e in found if folders[: len(base)] == base]
            exact = [entry for folders, entry in below if folders == wanted]
            ends = [entry for folders, entry in below if folders[len(folders) - len(wanted) :] == wanted]
            if exact or ends:
                return self._one(exact or ends, split, is_exact=True)
        for base in bases:
            # The whole of where the file is here is in the name: /home/me/train/1.jpg for train/1.jpg.
            below = [(folders[len(base) :], e) for folders, e in found if folders[: len(base)] == base]
            longest = max((len(f) for f, _ in below if f == wanted[len(wanted) - len(f) :]), default=-1)
            if longest >= 0:
                return self._one([e for f, e in below if f == wanted[len(wanted) - longest :]], split)
        if not outside:
            return ""
        shared = {entry.path: _shared(folders, wanted) for folders, entry in found}
        most = max(shared.values())
        return self._one([entry for _, entry in found if shared[entry.path] == most], split)

    def _one(
        self, entries: list[FileEntry], split: str | None, *, is_exact: bool = False
    ) -> tuple[FileEntry, bool] | str:
        split = split or self._split
        if len(entries) > 1 and split is not None:
            of_split = [one for one in entries if self._is_in_split(one, split)]
            entries = of_split or entries
        if len(entries) == 1:
            return entries[0], is_exact
        first, second = (printable(entry.path) for entry in entries[:2])
        return f"ambiguous: {len(entries)} files have this name, {first} and {second} among them"

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
    for how, said in _SAID.items():
        (count,) = index.db.execute("SELECT count(*) FROM looked_up WHERE how = ?", (how,)).fetchone()
        first = index.db.execute(
            "SELECT name, path FROM looked_up WHERE how = ? ORDER BY path LIMIT ?", (how, _NAMES_SHOWN)
        )
        shown = ", ".join(f"{printable(name)!r} is {printable(path)}" for name, path in first)
        if count:
            index.warn(f"{count} names of the list {said}: {shown}{', ...' if count > _NAMES_SHOWN else ''}.")


def _images(entries: list[FileEntry]) -> list[FileEntry]:
    return [entry for entry in entries if entry.path.lower().endswith(IMAGE_ENDINGS)]


def _folders(entry: FileEntry) -> Folders:
    return tuple(compose_name(entry.path).split("/")[:-1])


def _fold(folders: Folders) -> Folders:
    return tuple(map(str.casefold, folders))


def _shared(folders: Folders, wanted: Folders) -> int:
    """Return how many last parts two lists of folders share."""
    count = 0
    for one, other in zip(reversed(folders), reversed(wanted), strict=False):
        if one != other:
            break
        count += 1
    return count


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
