"""The lists of the VOC challenges: `ImageSets/Main/train.txt`, with the name of an image in each line.

A list's name is that of a split; `trainval` stands for train, in as far as neither train nor val has the
name. Lists of one class (`cat_train.txt`) are of another task. Their folder, next to `Annotations`, may be
there several times (VOC2007, VOC2012): each tells of its own.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from components.base.errors import DataRefusedError
from components.ingest.files import FileEntry
from components.ingest.item import Reject
from components.ingest.sources.context import SourceContext
from schemas import features

_LISTS = "ImageSets/Main/"
_ANNOTATIONS = "Annotations/"
_TRAIN_AND_EVAL = "trainval"


class ImageSets:
    """The splits into which the lists put an XML file."""

    def __init__(self, context: SourceContext) -> None:
        self._context = context
        # By the folder with a challenge's data ("" or "VOC2012/").
        self._splits: dict[str, dict[str, list[str]]] = {}
        self._left_out: dict[str, int] = {}
        self._seen: set[tuple[str, str]] = set()
        lists = [entry for entry in context.index.files if _is_list(entry.path)]
        # trainval last: it tells only of what is in no other.
        for entry in sorted(lists, key=lambda one: (_stem(one.path) == _TRAIN_AND_EVAL, one.path)):
            split = context.split_named(_stem(entry.path))
            is_rest = split is None and _stem(entry.path) == _TRAIN_AND_EVAL
            if split is not None or is_rest:
                self._read(entry, split or features.TRAIN, is_rest)

    def _read(self, entry: FileEntry, split: str, is_rest: bool) -> None:
        top = entry.path[: entry.path.rfind(_LISTS)]
        by_name = self._splits.setdefault(top, {})
        self._left_out.setdefault(top, 0)
        path = Path(os.fsdecode(self._context.absolute(entry.raw)))
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise DataRefusedError(
                f"{self._context.shown}: {entry.path}: cannot be read as a list of names: {why}; correct "
                "or remove it"
            ) from error
        for line in lines:
            words = line.split()
            if not words:
                continue
            splits = by_name.setdefault(words[0], [])
            if split not in splits and not (is_rest and set(splits) & {features.TRAIN, features.EVAL}):
                splits.append(split)

    def splits(self, xml: str) -> tuple[str, ...] | None:
        """Return the splits of an XML file; () where no list tells, None where it is to be left out."""
        top = self._top(xml)
        if top is None:
            return ()
        name = _stem(xml)
        splits = self._splits[top].get(name)
        if splits is None:
            self._left_out[top] += 1
            return None
        self._seen.add((top, name))
        return tuple(splits)

    def cover(self, path: str) -> bool:
        """Return whether there are lists for the folder with the file."""
        return self._top(path) is not None

    def rejects(self) -> Iterator[Reject]:
        """Yield what the lists name and is not there, and one for all that they leave out."""
        for top, by_name in self._splits.items():
            for name in by_name:
                if (top, name) not in self._seen:
                    yield Reject(
                        f"{top}{_ANNOTATIONS}{name}.xml",
                        f"no such file, and a list in {top}{_LISTS} names it",
                    )
            if self._left_out[top]:
                yield Reject(
                    f"{top}{_ANNOTATIONS}",
                    f"{self._left_out[top]:,} of its files are left out: they are in none of the lists in "
                    f"{top}{_LISTS}",
                )

    def _top(self, path: str) -> str | None:
        """Return the longest of the challenges' folders that have the file."""
        tops = [top for top in self._splits if path.startswith(top)]
        return max(tops, key=len) if tops else None


def _is_list(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return f"/{folder}/".endswith(f"/{_LISTS}") and name.endswith(".txt")


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]
