"""Where pictures come from. A source is one small module and one line in SOURCES.

The module has one function,

    find(context: SourceContext) -> Iterator[Item | Reject | LeftOut]

which names every input picture once, without decoding any: an Item says in which file its bytes lie (a whole
encoded file, or an encoded picture or raw uint8 pixels at an offset), its class or its boxes, and its split
if the data brings one. What cannot be used is a Reject with the reason, what is not meant to be an image a
LeftOut. A source that knows how many inputs there are, by a header or by counting lines, says so by
`context.announce`: ingest ends with an error where that many do not come out. Data with a list of classes
gives it to `context.index`; names of boxes' classes go through `context.label_map()`. An input that makes no
sense as a whole raises UsageError (not this kind of data) or DataRefusedError (damaged). Hashing, splitting,
decoding and writing are not a source's business.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from components.base.errors import UsageError
from components.ingest.index import Found, Index
from components.ingest.label_map import LabelMap, find_label_map
from components.ingest.readings import CENTRES, CORNERS, LENGTHS, SHARES, SWAPPED, UPPER_LEFT
from components.ingest.splits import split_named
from schemas import features


@dataclasses.dataclass(frozen=True)
class SourceContext:
    """What a source is given.

    root: the folder that INPUT is, or was unpacked to, or lies in (where INPUT is a file).
    shown: INPUT as the user gave it, for messages.
    input_file: INPUT where it is a file of a kind that the source reads itself, else None.
    index: the files below root, in order.
    split_names: see IngestConfig.
    scratch: a folder that lasts until the shards are published, for raw pixels that lie in no file as they
        are.
    given_label_map, box_units: see IngestConfig.
    announced: what `announce` was told. names_asked: what `split_named` was asked for, in lower case.
    """

    root: Path
    shown: str
    input_file: Path | None
    index: Index
    split_names: Mapping[str, str]
    scratch: Path
    given_label_map: Path | None = None
    box_units: str | None = None
    announced: list[int] = dataclasses.field(default_factory=list)
    names_asked: set[str] = dataclasses.field(default_factory=set)

    def announce(self, inputs: int) -> None:
        """Says that the data list this many inputs (more, where it was called before)."""
        self.announced.append(inputs)

    def unused_split_names(self) -> list[str]:
        """The keys of `split_names` that stand for nothing in the data."""
        return [name for name in self.split_names if name.strip().lower() not in self.names_asked]

    def label_map(self) -> LabelMap | None:
        """The label map that was given, else the only one that lies in INPUT, else None.

        Its classes become those of the data. Raises UsageError for one that cannot be read, or for several.
        """
        found = find_label_map(self.given_label_map, self.root, (entry.path for entry in self.index.files()))
        if found is not None:
            self.index.set_class_names(found.class_names())
        return found

    def in_shares(self, *, usual: bool) -> bool:
        """Return whether boxes are shares of their images: what was said, else what is usual there."""
        return usual if self.box_units is None else self.box_units == SHARES

    def split_named(self, name: str) -> str | None:
        """See components.ingest.splits.split_named."""
        self.names_asked.add(name.strip().lower())
        return split_named(name, self.split_names)

    def absolute(self, raw: bytes) -> bytes:
        """The absolute path of a FileEntry's raw path."""
        return os.path.join(os.fsencode(self.root), raw)


@dataclasses.dataclass(frozen=True)
class Source:
    """module: dotted name, imported when the source is used. suffixes: INPUT may be a file that ends so.

    tasks: what its data can be for. misread: what its boxes may be written as instead, by
        components.ingest.readings.READINGS. beside: INPUT is a file that, in a folder of this name,
        tells of the files beside that folder.

    takes_names: INPUT may also be a data set's name. The module then has is_name(given), whether INPUT is
        one, and locate(name), the folder that is read for it; locate may download.
    """

    module: str
    needs_input: bool = True
    suffixes: tuple[str, ...] = ()
    takes_names: bool = False
    tasks: tuple[str, ...] = (features.CLASSIFICATION,)
    misread: tuple[str, ...] = ()
    beside: str | None = None

    def root_of(self, file: Path) -> Path:
        """The folder whose files are looked at where INPUT is a file that the source reads itself."""
        return file.parent.parent if file.parent.name.lower() == self.beside else file.parent

    def find(self, context: SourceContext) -> Iterator[Found]:
        """See the module's docstring."""
        find: Callable[[SourceContext], Iterator[Found]] = importlib.import_module(self.module).find
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
    "coco": Source(
        "components.ingest.sources.coco",
        suffixes=(".json",),
        tasks=(features.DETECTION,),
        misread=(CORNERS, SWAPPED),
        beside="annotations",
    ),
    "csv": Source(
        "components.ingest.sources.csv_file",
        suffixes=(".csv",),
        tasks=features.TASKS,
        misread=(CORNERS, LENGTHS, SWAPPED),
    ),
    "digits": Source("components.ingest.sources.digits", needs_input=False),
    "folder": Source("components.ingest.sources.folder"),
    "idx": Source("components.ingest.sources.idx"),
    "tfds": Source("components.ingest.sources.tfds", takes_names=True),
    "tfrecord": Source(
        "components.ingest.sources.tfrecords",
        suffixes=tuple(
            f".{name}{gz}" for name in ("tfrecord", "tfrecords", "tfrec", "record") for gz in ("", ".gz")
        ),
        tasks=features.TASKS,
        misread=(LENGTHS, SWAPPED),
    ),
    "voc": Source("components.ingest.sources.voc", tasks=(features.DETECTION,), misread=(LENGTHS, SWAPPED)),
    "yolo": Source(
        "components.ingest.sources.yolo",
        suffixes=(".yaml", ".yml"),
        tasks=(features.DETECTION,),
        misread=(CENTRES, UPPER_LEFT),
    ),
}


def sources_for(task: str) -> list[str]:
    """Return the names of the sources whose data can be for a task."""
    return [name for name, source in SOURCES.items() if task in source.tasks]


def source_named(name: str) -> Source:
    """The source of that name. Raises UsageError with the nearest known name."""
    if name in SOURCES:
        return SOURCES[name]
    close = difflib.get_close_matches(name, SOURCES, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise UsageError(f"Unknown source {name!r}, expected one of {', '.join(SOURCES)}{hint}")
