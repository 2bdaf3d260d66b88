"""Guess which source reads an input, by asking all of them.

A source says by what the input looks like its data (`fits` in its module). Data of other sources may look
like class folders too, so the source `folder` comes last.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

from components.base.errors import MiranteError
from components.base.printable import printable
from components.ingest.files import walk
from components.ingest.index import Index
from components.ingest.input import Input
from components.ingest.sources import SOURCES, Source
from components.ingest.sources.context import SourceContext

_IN_MEMORY = Path(":memory:")


@dataclasses.dataclass(frozen=True)
class Fit:
    """A source that may read an input.

    Attributes:
        source: Its name.
        why: By what the input looks like its data, as the end of a sentence.
    """

    source: str
    why: str


def find_fits(root: Path, file: Path | None = None, without: Sequence[Path] = ()) -> list[Fit]:
    """Return the sources that may read an input, the likeliest first.

    Args:
        root: The folder that INPUT is, or was unpacked to; not used if `file` is given.
        file: INPUT if it is a file that is no archive.
        without: Folders that are not part of the input.

    Raises:
        DataRefusedError: A folder cannot be read.
    """
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
            if (why := _ask(source, index, folder, file, Path(scratch))) is not None:
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

    Only where another source may be meant: no image was found, or folders with more than images in them are
    read as classes. A warning says so where there are two classes or more.
    """
    classes = len(index.class_names())
    if classes and not (given.source.is_general and index.left_out()):
        return ""
    if classes > 1 and (other := hint_at_other(source, given, root, also_own=True)):
        index.warn(f"The input was read by the source {source}; {other}.")
    return hint_at_other(source, given, root) if classes < 2 else ""


def _list_files(folder: Path, without: Sequence[Path]) -> Index:
    index = Index(_IN_MEMORY)
    index.files.add(walk(folder, without))
    return index


def _ask(source: Source, index: Index, root: Path, file: Path | None, scratch: Path) -> str | None:
    context = SourceContext(
        root=root, shown=str(root), input_file=file, index=index, split_names={}, scratch=scratch
    )
    return source.fits(context)
