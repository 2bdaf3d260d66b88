"""Where pictures come from. A source is one small module and one line in SOURCES.

The module has one function,

    find(context: SourceContext) -> Iterator[Item | Reject]

which names every input picture once, without decoding any: an Item says in which file its bytes lie (a whole
encoded file, or an encoded picture or raw uint8 pixels at an offset), its class, and its split if the data
brings one. What cannot be used is a Reject with the reason. Data with a list of classes gives it to
`context.index`. An input that makes no sense as a whole raises UsageError (not this kind of data) or
DataRefusedError (damaged). Hashing, splitting, decoding and writing are not a source's business.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from components.errors import UsageError
from components.ingest.index import Index, Item, Reject
from components.ingest.splits import split_named


@dataclasses.dataclass(frozen=True)
class SourceContext:
    """What a source is given.

    root: the folder that INPUT is, or was unpacked to, or lies in (where INPUT is a file).
    shown: INPUT as the user gave it, for messages.
    input_file: INPUT where it is a file of a kind that the source reads itself, else None.
    index: the files below root, in order.
    split_names: see IngestOptions.
    scratch: a folder that lasts until the shards are published, for raw pixels that lie in no file as they
        are.
    """

    root: Path
    shown: str
    input_file: Path | None
    index: Index
    split_names: Mapping[str, str]
    scratch: Path

    def split_named(self, name: str) -> str | None:
        """See components.ingest.splits.split_named."""
        return split_named(name, self.split_names)

    def absolute(self, raw: bytes) -> bytes:
        """The absolute path of a FileEntry's raw path."""
        return os.path.join(os.fsencode(self.root), raw)


@dataclasses.dataclass(frozen=True)
class Source:
    """module: dotted name, imported when the source is used. suffixes: INPUT may be a file that ends so.

    takes_names: INPUT may also be a data set's name. The module then has is_name(given), whether INPUT is
        one, and locate(name), the folder that is read for it; locate may download.
    """

    module: str
    needs_input: bool = True
    suffixes: tuple[str, ...] = ()
    takes_names: bool = False

    def find(self, context: SourceContext) -> Iterator[Item | Reject]:
        """See the module's docstring."""
        find: Callable[[SourceContext], Iterator[Item | Reject]] = importlib.import_module(self.module).find
        return find(context)

    def is_name(self, given: str) -> bool:
        """Whether INPUT is a data set's name and no path."""
        return self.takes_names and bool(importlib.import_module(self.module).is_name(given))

    def locate(self, name: str) -> Path:
        """The folder that is read for a data set's name; it may be downloaded."""
        folder: Path = importlib.import_module(self.module).locate(name)
        return folder


SOURCES: Mapping[str, Source] = {
    "cifar": Source("components.ingest.sources.cifar"),
    "csv": Source("components.ingest.sources.csv_file", suffixes=(".csv",)),
    "digits": Source("components.ingest.sources.digits", needs_input=False),
    "folder": Source("components.ingest.sources.folder"),
    "idx": Source("components.ingest.sources.idx"),
    "tfds": Source("components.ingest.sources.tfds", takes_names=True),
    "tfrecord": Source(
        "components.ingest.sources.tfrecords",
        suffixes=tuple(
            f".{name}{gz}" for name in ("tfrecord", "tfrecords", "tfrec", "record") for gz in ("", ".gz")
        ),
    ),
}


def source_named(name: str) -> Source:
    """The source of that name. Raises UsageError with the nearest known name."""
    if name in SOURCES:
        return SOURCES[name]
    close = difflib.get_close_matches(name, SOURCES, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise UsageError(f"Unknown source {name!r}, expected one of {', '.join(SOURCES)}{hint}")
