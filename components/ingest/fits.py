"""Guess which source reads an input, by asking all of them.

A source says by what the input looks like its data (`fits` in its module). Data of other sources may look
like class folders too, so the source `folder` comes last.
"""

import dataclasses
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.base.errors import MiranteError
from components.base.printable import printable
from components.ingest.config import IngestConfig
from components.ingest.file_table import FileTable
from components.ingest.files import FileEntry, walk
from components.ingest.index import Index
from components.ingest.input import Input
from components.ingest.sources import SOURCES, Source
from components.ingest.sources.context import SourceContext, ask_whether_fits

_IN_MEMORY = Path(":memory:")
# Files that are kept as objects, of some 500 bytes each.
_MOST_KEPT = 200_000
# How the reasons of files end that may say what is on the images (components.ingest.left_out).
_ANNOTATIONS = (": JSON", ": XML", ": YAML", ": a table")


@dataclasses.dataclass(frozen=True)
class Fit:
    """A source that may read an input.

    Attributes:
        source: Its name.
        why: By what the input looks like its data, as the end of a sentence.
    """

    source: str
    why: str


def find_fits(
    root: Path, file: Path | None = None, without: Sequence[Path] = (), config: IngestConfig | None = None
) -> list[Fit]:
    """Return the sources that may read an input, the likeliest first.

    Args:
        root: The folder that INPUT is, or was unpacked to; not used if `file` is given.
        file: INPUT if it is a file that is no archive.
        without: Folders that are not part of the input.
        config: What the user says of the data, such as the columns of a list.

    Raises:
        DataRefusedError: A folder cannot be read.
    """
    config = config or IngestConfig()
    index: Index | None = None
    read: Path | None = None
    fits: list[Fit] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, source in sorted(SOURCES.items(), key=lambda row: row[1].is_general):
            if file is not None and not file.name.lower().endswith(source.suffixes):
                continue
            folder = root if file is None else source.root_of(file)
            if index is None or folder != read:
                index, read = _list_files(folder, without), folder
            if (why := _ask(source, index, folder, file, Path(scratch), config)) is not None:
                fits.append(Fit(name, printable(why)))
    return fits


def hint_at_other(source: str, given: Input, root: Path, *, also_own: bool = False) -> str:
    """Return which other source reads an input, as the end of a message; "" if none does.

    Args:
        source: The source that was asked for.
        given: The input.
        root: The folder that it is, or was unpacked to.
        also_own: Whether to name another source even if the input looks like data of `source`.
    """
    if given.path is None:
        return ""
    try:
        fits = find_fits(root, given.own_file, given.without)
    except (MiranteError, OSError):
        return ""
    others = [fit for fit in fits if fit.source != source]
    if not others or (len(others) < len(fits) and not also_own):
        return ""
    name, why = others[0].source, others[0].why
    return (
        f"it looks like data of the source {name} ({why}), which is read by mirante ingest {name} INPUT "
        f"OUTPUT, or data.source: {name} in a recipe"
    )


def look_for_other(source: str, given: Input, root: Path, index: Index) -> str:
    """Return what `hint_at_other` does, for an input whose images were found.

    Only where another source may be meant: no image was found, or folders in which there is more than images
    are read as classes. If these are two or more, a warning says so where there are lists or annotations.
    """
    classes = len(index.class_names())
    left_out = index.left_out() if given.source.is_general else []
    if classes > 1 and any(reason.endswith(_ANNOTATIONS) for _, reason in left_out):
        if other := hint_at_other(source, given, root, also_own=True):
            index.warn(f"The input was read by the source {source}; {other}.")
    elif not classes or (classes == 1 and left_out):
        return hint_at_other(source, given, root)
    return ""


def _list_files(folder: Path, without: Sequence[Path]) -> Index:
    index = Index(_IN_MEMORY)
    index.files = _Files(index.db)
    index.files.add(walk(folder, without))
    return index


class _Files(FileTable):
    """A table that keeps its first entries: all sources go through them, some several times."""

    _first: list[FileEntry] | None = None

    def __iter__(self) -> Iterator[FileEntry]:
        if self._first is None:
            self._first = list(itertools.islice(super().__iter__(), _MOST_KEPT + 1))
        return iter(self._first) if len(self._first) <= _MOST_KEPT else super().__iter__()


def _ask(
    source: Source, index: Index, root: Path, file: Path | None, scratch: Path, config: IngestConfig
) -> str | None:
    context = SourceContext(
        root=root, shown=str(root), input_file=file, index=index, scratch=scratch, config=config
    )
    return ask_whether_fits(source, context)
