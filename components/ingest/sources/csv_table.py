"""A CSV file as a table of images: which columns it has, and its rows."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.base.errors import DataRefusedError, UsageError
from components.ingest.sources.box_columns import HEADERLESS, find_box_columns, is_headerless
from components.ingest.sources.context import SourceContext

FILE_COLUMNS = (
    "filename", "file_name", "file", "filepath", "filepaths", "file_path", "path", "image", "image_path",
    "image_name", "img",
)  # fmt: skip
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category", "target")
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "data set")
_DELIMITERS = ",;\t|"
# The line that Excel writes first, and reads, to name the separator.
_NAMED_DELIMITER = re.compile(r'"?sep=(?P<delimiter>[^\w\s"]|\t)"?', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a CSV.

    Attributes:
        cells: By column.
        where: File and line, for messages.
        split: The split; None if the row and the file tell none.
        problem: Why it cannot be read; "" if it can. The cells are then empty, except the file's name if that
            is known.
    """

    cells: dict[str, str]
    where: str
    split: str | None
    problem: str = ""


class Table:
    """A CSV file: its columns, and its rows one after the other.

    Raises:
        UsageError: The CSV is not of this kind.
        DataRefusedError: The CSV is broken.
    """

    def __init__(self, context: SourceContext, path: Path, split: str | None) -> None:
        self.path = path
        self._context, self._split = context, split
        lines = re.split(r"\r\n|\r|\n", _text(path))
        number, first = next(((at, line) for at, line in enumerate(lines) if line.strip()), (0, ""))
        if named := _NAMED_DELIMITER.fullmatch(first.strip(" ")):
            self._delimiter = named["delimiter"]
            lines[number] = ""
        else:
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
        """Yield all rows that are not empty, each of one line.

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
                    f"--split-names {brought[:80]}=test"
                )
            yield Row(by_column, where, split)

    def _parse(self, lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield (number of the line, its cells) for each line that is not empty."""
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
                        f"{self.path}, line {line}: not valid CSV ({error}); correct that line"
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
            "The first line must name the columns, e.g. filename,label"
        )


def _text(table: Path) -> str:
    try:
        return table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = table.read_bytes()[: error.start].count(b"\n") + 1
        raise DataRefusedError(
            f"{table}, line {line}: not UTF-8 ({error.reason}); save the CSV as UTF-8"
        ) from error
