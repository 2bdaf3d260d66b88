"""A CSV file with a file name and a class in every row.

    filename,label
    Image_1.jpg,ATALA

Columns, in any order and case; of several that would do, the first named here counts:
    the file   filename, file_name, file, filepath, filepaths, file_path, path, image, image_path, image_name,
    img the class  label, labels, class, class_name, category, target
    the split  split, set, subset, partition, data set          (optional)

A name is looked up beside the CSV, then in the folders below it: `Image_1.jpg` finds `train/Image_1.jpg`. One
that fits several files is a reject, so is one that fits none. Every row gives a record, also one that repeats
another.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.errors import DataRefusedError, UsageError
from components.ingest.files import FileEntry, is_litter, label_of
from components.ingest.index import Item, Reject
from components.ingest.sources import SourceContext

FILE_COLUMNS = (
    "filename", "file_name", "file", "filepath", "filepaths", "file_path", "path", "image", "image_path",
    "image_name", "img",
)  # fmt: skip
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target")
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "data set")
BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")
_DELIMITERS = ",;\t|"


def find(context: SourceContext) -> Iterator[Item | Reject]:
    """One item a row.

    Raises UsageError for a CSV that is not of this kind, DataRefusedError for one that is broken.
    """
    table = context.input_file or _only_csv(context)
    text = _text(table)
    delimiter = max(_DELIMITERS, key=text.partition("\n")[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = [column.strip().lower() for column in next(rows, [])]
    boxes = [column for column in BOX_COLUMNS if column in header]
    if boxes:
        raise UsageError(
            f"{table}: the columns {', '.join(boxes)} mean detection, which the source csv does not support "
            "yet. "
            "For classification give a CSV with the columns filename,label."
        )
    name_at = _column(table, header, FILE_COLUMNS, "the file's name")
    label_at = _column(table, header, LABEL_COLUMNS, "the class")
    split_at = next((header.index(column) for column in SPLIT_COLUMNS if column in header), None)
    lookup = _Lookup(context, table)
    try:
        for row in rows:
            where = f"{table.name} line {rows.line_num}"
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            cells += [""] * (len(header) - len(cells))
            brought = cells[split_at] if split_at is not None else ""
            split = context.split_named(brought) if brought else None
            if brought and split is None:
                raise UsageError(
                    f"{table}, line {rows.line_num}: unknown split {brought!r}. Say which one it is, "
                    f"e.g. --split-names {brought}=test."
                )
            yield _row(context, lookup, cells[name_at], cells[label_at], split, where)
    except csv.Error as error:
        raise DataRefusedError(
            f"{table}, line {rows.line_num}: not valid CSV ({error}); correct that line."
        ) from error


def _row(
    context: SourceContext, lookup: _Lookup, name: str, label: str, split: str | None, where: str
) -> Item | Reject:
    if not name:
        return Reject(where, f"no file name ({where})")
    found = lookup.find(name)
    if isinstance(found, str):
        return Reject(name, f"{found} ({where})")
    if not label:
        return Reject(found.path, f"unlabelled: no class ({where})")
    if found.problem:
        return Reject(found.path, f"{found.problem} ({where})")
    return Item(
        path=found.path,
        file=context.absolute(found.raw),
        size_bytes=found.size_bytes,
        mtime_ns=found.mtime_ns,
        label=label_of(label),
        split=split,
    )


class _Lookup:
    """Finds the file that a name in the CSV means."""

    def __init__(self, context: SourceContext, table: Path) -> None:
        self._index = context.index
        folder = table.parent.relative_to(context.root).as_posix()
        self._beside = "" if folder == "." else f"{folder}/"

    def find(self, name: str) -> FileEntry | str:
        """The file, or why there is none."""
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        if ".." in parts or name.startswith("/"):
            return "the name leads out of the CSV's folder"
        if not parts:
            return "no file name"
        wanted = "/".join(parts)
        same_name = [
            entry for entry in self._index.files_named(parts[-1]) if entry.path.startswith(self._beside)
        ]
        for entry in same_name:
            if entry.path == self._beside + wanted:
                return entry
        below = [entry for entry in same_name if entry.path.endswith(f"/{wanted}")]
        if len(below) == 1:
            return below[0]
        if not below:
            return "no such file"
        return f"ambiguous: {len(below)} files have this name, {below[0].path} and {below[1].path} among them"


def _only_csv(context: SourceContext) -> Path:
    found = [
        context.root / entry.path
        for entry in context.index.files()
        if entry.path.lower().endswith(".csv") and not is_litter(entry.path.rpartition("/")[2])
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"{context.shown}: no .csv file in it; give the CSV file itself, or a folder that holds it."
        )
    shown = ", ".join(sorted(path.relative_to(context.root).as_posix() for path in found)[:5])
    raise UsageError(
        f"{context.shown}: {len(found)} .csv files in it ({shown}); give the one to read as INPUT."
    )


def _text(table: Path) -> str:
    try:
        return table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = table.read_bytes()[: error.start].count(b"\n") + 1
        raise DataRefusedError(
            f"{table}, line {line}: not UTF-8 ({error.reason}); save the CSV as UTF-8."
        ) from error


def _column(table: Path, header: Sequence[str], names: Sequence[str], what: str) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    raise UsageError(
        f"{table}: no column for {what}: expected one of {', '.join(names)}, found "
        f"{', '.join(header) or 'none'}. "
        "The first line must name the columns, e.g. filename,label."
    )
