"""A CSV file with a file name and a class in every row, or a file name and a box.

    filename,label                       filename,width,height,class,xmin,ymin,xmax,ymax
    Image_1.jpg,ATALA                    cat.12.jpg,300,224,cat,38,19,241,191

Columns, in any order and case; of several that would do, the first named here counts:
    the file   filename, file_name, file, filepath, filepaths, file_path, path, image, image_path, image_name,
    img the class  label, labels, class, class_name, category, target
    the split  split, set, subset, partition, data set          (optional)
    the box    xmin, ymin, xmax, ymax, or others of components.ingest.sources.box_columns: they mean
               detection, see components.ingest.sources.csv_boxes

Several CSV files are read together if the name of each begins with another split's: train_labels.csv,
test_labels.csv.

A name is looked up beside the CSV, then in the folders below it: `Image_1.jpg` finds `train/Image_1.jpg`. One
that fits several files is a reject, so is one that fits none. Every row gives a record, also one that repeats
another. A row is one line: a quote that is not closed in its line would swallow the rows after it, so such a
list is refused. A row with more or fewer fields than the first line names is a reject.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.base.errors import DataRefusedError, UsageError
from components.ingest.files import label_of
from components.ingest.index import Item, Reject
from components.ingest.sources import SourceContext
from components.ingest.sources.box_columns import HEADERLESS, find_box_columns, is_headerless
from components.ingest.sources.lookup import Lookup
from components.ingest.truth import Label

FILE_COLUMNS = (
    "filename", "file_name", "file", "filepath", "filepaths", "file_path", "path", "image", "image_path",
    "image_name", "img",
)  # fmt: skip
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target")
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "data set")
_DELIMITERS = ",;\t|"
_LETTERS = re.compile(r"[A-Za-z]+")


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a CSV.

    cells: by column. where: file and line, for messages. split: None if it tells none.
    problem: why it cannot be read, "" if it can; cells are then empty but for the file's name, if that is
        known.
    """

    cells: dict[str, str]
    where: str
    split: str | None
    problem: str = ""


class Table:
    """A CSV file: its columns, and its rows one after the other.

    Raises UsageError for a CSV that is not of this kind, DataRefusedError for one that is broken.
    """

    def __init__(self, context: SourceContext, path: Path, split: str | None) -> None:
        self.path = path
        self._context, self._split = context, split
        lines = re.split(r"\r\n|\r|\n", _text(path))
        first = next((line for line in lines if line.strip()), "")
        self._delimiter = max(_DELIMITERS, key=first.count)
        self._rows: Iterator[tuple[int, list[str]]] = self._parse(lines)
        first_row = next(self._rows, (0, []))
        header = [column.strip().lower() for column in first_row[1]]
        headerless = is_headerless(header)
        if headerless:
            header = list(HEADERLESS)
            self._rows = itertools.chain([first_row], self._rows)
        while header and not header[-1]:
            header.pop()
        self.header = header
        # Counted without the parser, and checked against what it gives.
        self.count = max(0, sum(not self._is_blank(line) for line in lines) - (not headerless))
        self.name_column = self._column(FILE_COLUMNS, "the file's name")
        self.label_column = self._column(LABEL_COLUMNS, "the class")
        self.box = find_box_columns(path, header)

    def rows(self) -> Iterator[Row]:
        """All rows that are not empty, each of one line.

        Raises:
            UsageError: A split that is not known.
            DataRefusedError: A line that is no CSV, or in which a quote opens and does not close.
        """
        split_column = next((column for column in SPLIT_COLUMNS if column in self.header), None)
        for line, read in self._rows:
            cells = [cell.strip() for cell in read]
            where = f"{self.path.name} line {line}"
            if problem := self._problem(cells):
                at = self.header.index(self.name_column)
                name = cells[at] if at < len(cells) else ""
                yield Row(dict.fromkeys(self.header, "") | {self.name_column: name}, where, None, problem)
                continue
            by_column = dict(zip(reversed(self.header), reversed(cells[: len(self.header)]), strict=True))
            brought = by_column[split_column] if split_column is not None else ""
            split = self._context.split_named(brought) if brought else self._split
            if brought and split is None:
                raise UsageError(
                    f"{self.path}, line {line}: unknown split {brought[:80]!r}. Say which one it is, e.g. "
                    f"--split-names {brought[:80]}=test."
                )
            yield Row(by_column, where, split)

    def _parse(self, lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """(number of the line, its cells) of each line that is not empty."""
        reader = csv.reader(lines, delimiter=self._delimiter, skipinitialspace=True, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if reader.line_num == line:
                    raise DataRefusedError(
                        f"{self.path}, line {line}: not valid CSV ({error}); correct that line."
                    ) from error
                raise self._open_quote(line) from error
            if reader.line_num > line:
                raise self._open_quote(line)
            if not self._is_blank(lines[line - 1]):
                yield line, cells

    def _is_blank(self, line: str) -> bool:
        return not line.translate({ord(letter): None for letter in f'"{self._delimiter}'}).strip()

    def _open_quote(self, line: int) -> DataRefusedError:
        return DataRefusedError(
            f'{self.path}, line {line}: a quote (") opens in this line and does not close in it, so that the '
            "rows after it would be lost. Close it, or take line breaks out of the field"
        )

    def _problem(self, cells: Sequence[str]) -> str:
        expected = len(self.header)
        if len(cells) > expected and any(cells[expected:]):
            return (
                f"{len(cells)} fields, and the first line names {expected} columns: put a field that holds "
                f"{self._delimiter!r} in quotes"
            )
        if len(cells) < expected:
            return f"{len(cells)} fields, and the first line names {expected} columns: add what is missing"
        return ""

    def _column(self, names: Sequence[str], what: str) -> str:
        for name in names:
            if name in self.header:
                return name
        raise UsageError(
            f"{self.path}: no column for {what}: expected one of {', '.join(names)}, found "
            f"{', '.join(self.header) or 'none'}. "
            "The first line must name the columns, e.g. filename,label."
        )


def find(context: SourceContext) -> Iterator[Item | Reject]:
    """One item a row, or where rows are boxes one item a picture.

    Raises UsageError for a CSV that is not of this kind, DataRefusedError for one that is broken.
    """
    tables = [Table(context, path, split) for path, split in _tables(context)]
    with_boxes = [table for table in tables if table.box is not None]
    if not with_boxes:
        for table in tables:
            lookup = Lookup(context, table.path)
            context.announce(table.count)
            for row in table.rows():
                yield _labelled(context, lookup, table, row)
    elif len(with_boxes) < len(tables):
        one, other = with_boxes[0], next(table for table in tables if table.box is None)
        columns = ", ".join(one.box.names) if one.box is not None else ""
        raise UsageError(
            f"{context.shown}: {one.path.name} has boxes ({columns}) and {other.path.name} has not; "
            "give the one to read as INPUT."
        )
    else:
        from components.ingest.sources.csv_boxes import find_boxes

        yield from find_boxes(context, tables)


def _labelled(context: SourceContext, lookup: Lookup, table: Table, row: Row) -> Item | Reject:
    name, label = row.cells[table.name_column], row.cells[table.label_column]
    if row.problem:
        return Reject(name or row.where, f"{row.problem} ({row.where})")
    if not name:
        return Reject(row.where, f"no file name ({row.where})")
    found = lookup.find(name, row.split)
    if isinstance(found, str):
        return Reject(name, f"{found} ({row.where})")
    if not label:
        return Reject(found.path, f"unlabelled: no class ({row.where})")
    if found.problem:
        return Reject(found.path, f"{found.problem} ({row.where})")
    return Item(
        path=found.path,
        file=context.absolute(found.raw),
        size_bytes=found.size_bytes,
        stamp=found.stamp,
        truth=Label(label_of(label)),
        split=row.split,
    )


def _tables(context: SourceContext) -> list[tuple[Path, str | None]]:
    """The CSV files to read, each with the split that its name tells where there are several."""
    if context.input_file is not None:
        return [(context.input_file, None)]
    found = [
        context.root / entry.path
        for entry in context.index.files()
        if entry.path.lower().endswith(".csv") and not entry.problem
    ]
    if len(found) == 1:
        return [(found[0], None)]
    if not found:
        raise UsageError(
            f"{context.shown}: no .csv file in it; give the CSV file itself, or a folder that holds it."
        )
    splits = []
    for path in found:
        letters = _LETTERS.match(path.name)
        splits.append(context.split_named(letters.group()) if letters else None)
    if None not in splits and len(set(splits)) == len(splits):
        return list(zip(found, splits, strict=True))
    shown = ", ".join(sorted(path.relative_to(context.root).as_posix() for path in found)[:5])
    raise UsageError(
        f"{context.shown}: {len(found)} .csv files in it ({shown}); give the one to read as INPUT, or have "
        "their names begin with their splits, as in train_labels.csv and test_labels.csv."
    )


def _text(table: Path) -> str:
    try:
        return table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = table.read_bytes()[: error.start].count(b"\n") + 1
        raise DataRefusedError(
            f"{table}, line {line}: not UTF-8 ({error.reason}); save the CSV as UTF-8."
        ) from error
