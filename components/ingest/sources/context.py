"""What a source is given to find its inputs, and the calls of the functions of its module."""

import dataclasses
import importlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from components.ingest.config import IngestConfig
from components.ingest.files import FileEntry
from components.ingest.index import Index
from components.ingest.item import Found, Item, Reject
from components.ingest.label_map import LabelMap, find_label_map
from components.ingest.readings import SHARES
from components.ingest.sources import Source
from components.ingest.splits import NO_SPLIT, split_named
from components.ingest.truth import Label, Labels, Truth
from components.ingest.truth.labels import read_labels

# What separates the classes of an image, unless the user says otherwise.
SEPARATOR = "|"
# The most files of a kind that a guess looks at the beginning of.
FITS_FILES = 20


@dataclasses.dataclass(frozen=True)
class SourceContext:
    """The arguments of a source.

    Attributes:
        root: The folder that INPUT is, was unpacked to, or is in (if INPUT is a file).
        shown: INPUT as the user gave it, for messages.
        input_file: INPUT if it is a file of a kind that the source reads itself, else None.
        index: The files below `root`, in order.
        scratch: A folder that lasts until the shards are published, for raw pixels that no file holds as they
            are.
        config: How to ingest.
        announced: The numbers that `announce` was given.
        names_asked: The names that `split_named` was asked for, in lower case.
    """

    root: Path
    shown: str
    input_file: Path | None
    index: Index
    scratch: Path
    config: IngestConfig
    announced: list[int] = dataclasses.field(default_factory=list)
    names_asked: set[str] = dataclasses.field(default_factory=set)

    def item(self, entry: FileEntry, truth: Truth, split: str | None, group: str | None = None) -> Item:
        """Return the item of an image that is a file of its own."""
        file = self.absolute(entry.raw)
        return Item(entry.path, file, entry.size_bytes, truth, split, entry.stamp, group=group)

    def read_labels(self, cell: str) -> Labels:
        """Return the classes that a cell of a list, or the name of a folder, gives.

        Raises:
            ValueError: It cannot be read as classes.
        """
        return read_labels(cell, self.config.label_separator or SEPARATOR)

    def read_several(self, found: Found) -> Found:
        """Return an input with the classes of its image, whatever kind of truth its source reads.

        The name that stands for no class is among them until components.ingest.joined_rows has seen all
        inputs.
        """
        if not isinstance(found, Item) or isinstance(found.truth, Labels):
            return found
        if isinstance(found.truth, Label):
            try:
                return dataclasses.replace(found, truth=self.read_labels(found.truth.name))
            except ValueError as error:
                return Reject(found.path, str(error))
        return dataclasses.replace(found, truth=Labels(tuple(found.truth.classes)))

    def announce(self, inputs: int) -> None:
        """Add to the number of inputs that the data list."""
        self.announced.append(inputs)

    def unused_split_names(self) -> list[str]:
        """Return the keys of `split_names` that nothing in the data is called."""
        return [name for name in self.config.split_names if name.strip().lower() not in self.names_asked]

    def label_map(self) -> LabelMap | None:
        """Return the label map that was given, else the only one in INPUT, else None.

        Its classes become those of the data.

        Raises:
            UsageError: It cannot be read, or INPUT holds several.
        """
        paths = (entry.path for entry in self.index.files)
        found = find_label_map(self.config.label_map_file(), self.root, paths)
        if found is not None:
            self.index.set_class_names(found.class_names())
        return found

    def in_shares(self, *, usual: bool) -> bool:
        """Return whether boxes are shares of their images: what the user says, else the format."""
        return usual if self.config.box_units is None else self.config.box_units == SHARES

    def split_named(self, name: str) -> str | None:
        """Return the split that the data call `name`; see components.ingest.splits."""
        self.names_asked.add(name.strip().lower())
        return split_named(name, self.config.split_names)

    def is_meant(self, entry: FileEntry) -> bool:
        """Return whether a file is INPUT itself, or INPUT is no single file."""
        return self.input_file is None or self.root / entry.path == self.input_file

    def files_ending(self, ending: str, most: int | None = None) -> Iterator[FileEntry]:
        """Yield the files whose names end so, in any case; of INPUT alone where it is a file.

        Args:
            ending: The ending, in lower case.
            most: The most files; None for all of them.
        """
        found = (one for one in self.index.files if one.path.lower().endswith(ending) and self.is_meant(one))
        return itertools.islice(found, most)

    def read_head(self, entry: FileEntry, size: int = 65536) -> bytes:
        """Return the first bytes of a file, fewer where it is shorter; none if it cannot be read."""
        try:
            with open(self.absolute(entry.raw), "rb") as file:
                return b"" if entry.problem else file.read(size)
        except OSError:
            return b""

    def is_no_split(self, name: str) -> bool:
        """Return whether the user says that `name` is no split's."""
        wanted = name.strip().lower()
        given = [split for own, split in self.config.split_names.items() if own.strip().lower() == wanted]
        return given == [NO_SPLIT]

    def absolute(self, raw: bytes) -> bytes:
        """Return the absolute path of a FileEntry's raw path."""
        return os.path.join(os.fsencode(self.root), raw)


def find_inputs(source: Source, context: SourceContext) -> Iterator[Found]:
    """Yield every input of a source; see `components.ingest.sources`."""
    find: Callable[[SourceContext], Iterator[Found]] = importlib.import_module(source.module).find
    found = find(context)
    return map(context.read_several, found) if context.config.multilabel else found


def ask_whether_fits(source: Source, context: SourceContext) -> str | None:
    """Return why the input looks like data of a source; None if it does not."""
    fits: Callable[[SourceContext], str | None] = importlib.import_module(source.module).fits
    return fits(context)
