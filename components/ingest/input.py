"""INPUT of an ingest: a folder, a file that the source reads itself, an archive, or nothing."""

import dataclasses
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.base.errors import UsageError
from components.ingest.archive import is_archive
from components.ingest.files import FileEntry, StampFunction, decode_name, walk
from components.ingest.index import Index
from components.ingest.manifest import InputRow
from components.ingest.sources import SOURCES, Source, source_named


@dataclasses.dataclass(frozen=True)
class Input:
    """The input of an ingest.

    Attributes:
        source: What reads it.
        path: The absolute path; None for a source that brings its own data.
        without: Folders that are not part of it, also if they are inside.
        stamp_of: Returns what tells that a file is the same as before.
        images: The folder with the images, where INPUT is a list in another folder.

    Raises:
        UsageError: `images` is given, and INPUT is not a file that the source reads itself.
    """

    source: Source
    path: Path | None
    without: Sequence[Path]
    stamp_of: StampFunction
    images: Path | None = None

    def __post_init__(self) -> None:
        if self.images is not None and self.own_file is None:
            raise UsageError(
                f"images: expected a list as INPUT ({', '.join(self.source.suffixes)}), got {self.path}; "
                "give the file itself"
            )

    @property
    def shown(self) -> str:
        """The path as the manifest keeps it; "" for a source that brings its own data."""
        return "" if self.path is None else decode_name(os.fsencode(self.path))

    @property
    def own_file(self) -> Path | None:
        """The path if it is a file of a kind that the source reads itself, else None."""
        if self.path is None or not self.path.is_file():
            return None
        return self.path if self.source.reads_itself(self.path) else None

    @property
    def root(self) -> Path | None:
        """The folder that is read; None for an archive and for a source that brings its own data."""
        if self.images is not None or self.path is None or self.path.is_dir():
            return self.images or self.path
        return None if self.own_file is None else self.source.root_of(self.own_file)

    def rows(self, index: Index) -> Iterator[InputRow]:
        """Yield a row for each file, in the order of the walk, with its hash if that was needed."""
        if self.root is None:
            return self._file_row()
        return itertools.chain(index.input_rows(), self._file_row() if self.images is not None else ())

    def is_listed(self, rows: Iterator[InputRow]) -> bool:
        """Return whether the files are those of the rows, by path, size and stamp, without reading them."""
        entries = walk(self.root, self.without, stamp_of=self.stamp_of) if self.root is not None else iter(())
        if self.root is None or self.images is not None:
            alone = (FileEntry(row.path, b"", row.size_bytes, row.stamp) for row in self._file_row())
            entries = itertools.chain(entries, alone)
        return all(
            entry is not None and row is not None and (entry.path, entry.size_bytes, entry.stamp) == row[:3]
            for entry, row in itertools.zip_longest(entries, rows)
        )

    def _file_row(self) -> Iterator[InputRow]:
        """Yield the row of an archive, or of a list whose images are in another folder."""
        if self.path is not None:
            status = self.path.stat()
            name = self.path.name if self.images is None else self.shown
            yield InputRow(name, status.st_size, self.stamp_of(status))


def check_input(name: str, path: Path | None) -> Path | None:
    """Return INPUT as an absolute path; None for a source that brings its own data.

    No content is looked at, except an archive's first bytes.

    Raises:
        UsageError: There is no such source, or nothing that it reads.
    """
    source = source_named(name)
    if not source.needs_input:
        if path is not None:
            raise UsageError(
                f"The source {name} brings its own data and reads no INPUT, got {path}: give - as INPUT, or "
                "leave data.path out of the recipe"
            )
        return None
    if path is None:
        raise UsageError(
            f"The source {name} needs an INPUT: a folder, a .zip or a .tar(.gz)"
            f"{', or the name of a data set' if source.takes_names else ''}; "
            "`mirante run` takes it by --data, a Kubeflow run by data_root"
        )
    if source.is_name(str(path)):
        return source.locate(str(path))
    if re.match("[A-Za-z][A-Za-z0-9+.-]+:/", str(path)) and not path.exists():
        raise UsageError(
            f"INPUT {str(path).replace(':/', '://', 1)}: expected a path on this machine, got an address; "
            "download what is there, and give its path"
        )
    path = path.absolute()
    if not path.exists():
        raise UsageError(
            f"INPUT {path} does not exist{', and is no name of a data set' if source.takes_names else ''}: "
            "check the path"
        )
    if path.is_dir() or source.reads_itself(path) or (path.is_file() and is_archive(path)):
        return path
    kinds = "".join(f", a {suffix} file" for suffix in source.suffixes)
    others = [other for other, row in SOURCES.items() if row.reads_itself(path)]
    raise UsageError(
        f"INPUT {path}: the source {name} reads a folder{kinds}, a .zip or a .tar(.gz), not this file"
        + (f"; read it with the source {' or '.join(others)}" if others else "")
    )
