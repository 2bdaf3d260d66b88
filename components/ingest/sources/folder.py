"""Class folders, with or without split folders around them.

    INPUT/cats/1.jpg                  class cats
    INPUT/cats/2019/june/1.jpg        class cats: folders below a class folder only sort its pictures
    INPUT/train/cats/1.jpg            class cats, split train

The folders directly in INPUT are splits if all of them have a split's name (train, test, validation, ...), or
if one that has holds folders itself; else they are classes. So a class may be called "train", next to "car"
and "plane". A single folder around it all, as archives often have one, is stepped into.
"""

from __future__ import annotations

from collections.abc import Iterator

from components.ingest.files import FileEntry, label_of
from components.ingest.index import Item, Reject
from components.ingest.sources import SourceContext


def find(context: SourceContext) -> Iterator[Item | Reject]:
    """One item a file; files outside every class folder are rejects."""
    wrapper, splits = _layout(context)
    for entry in context.index.files():
        if entry.problem:
            yield Reject(entry.path, entry.problem)
            continue
        *folders, _ = _parts(entry, wrapper) or [""]
        split = None
        if splits and folders:
            split = splits.get(folders.pop(0))
            if split is None:
                yield Reject(
                    entry.path, f"unlabelled: lies outside the split folders {', '.join(sorted(splits))}"
                )
                continue
        if not folders:
            yield Reject(entry.path, "unlabelled: lies outside every class folder")
            continue
        yield Item(
            path=entry.path,
            file=context.absolute(entry.raw),
            size_bytes=entry.size_bytes,
            mtime_ns=entry.mtime_ns,
            label=label_of(folders[0]),
            split=split,
        )


def _layout(context: SourceContext) -> tuple[str, dict[str, str]]:
    """The prefix of the folder that wraps everything ("" or "name/"), and split folders: name -> split."""
    wrapper = ""
    while True:
        tops: dict[str, bool] = {}  # folder -> whether it holds folders
        for entry in context.index.files():
            parts = _parts(entry, wrapper)
            if len(parts) > 1:
                tops[parts[0]] = tops.get(parts[0], False) or len(parts) > 2
        splits = {name: split for name in tops if (split := context.split_named(name)) is not None}
        if len(tops) == 1 and not splits and all(tops.values()):
            wrapper += f"{next(iter(tops))}/"
        elif len(splits) == len(tops) or any(tops[name] for name in splits):
            return wrapper, splits
        else:
            return wrapper, {}


def _parts(entry: FileEntry, wrapper: str) -> list[str]:
    """The entry's folders and name below the wrapper; none if it lies outside."""
    return entry.path[len(wrapper) :].split("/") if entry.path.startswith(wrapper) else []
