"""Reads a CSV or TSV line by line: memory does not grow with the list.

Python's csv splits the fields. A row is one line, so that a forgotten quote swallows no rows; packages that
are faster (pandas, pyarrow) join lines within quotes and do not tell the line of an error.
"""

import csv
import re
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from components.base.errors import DataRefusedError
from components.ingest.sources.list_rows import RawRow
from components.ingest.sources.text_lines import read_lines

_DELIMITERS = ",;\t|"
# The line that Excel writes first, and reads, to name the separator.
_NAMED_DELIMITER = re.compile(r'"?sep=(?P<delimiter>[^\w\s"]|\t)"?', re.IGNORECASE)


class CsvLines:
    """The rows of a CSV or TSV. The first may be the names of the columns.

    Attributes:
        names: None: only the first row may tell.
        unit: What a row is called.
        delimiter: What separates the fields; known once the first row is read.
        count: Lines read so far that are not empty, counted without the parser.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.unit = path, "line"
        self.names: Sequence[str] | None = None
        self.delimiter = ""
        self.count = 0
        self._line = ""

    def rows(self) -> Generator[RawRow, None, None]:
        """Yield (number of the line, its fields without spaces around them, "") of lines that are not empty.

        Raises:
            DataRefusedError: A line is not UTF-8, is no CSV, or a quote opens in it and does not close.
        """
        lines = read_lines(self.path)
        number, first = next(((at, line) for at, line in enumerate(lines, 1) if line.strip()), (1, ""))
        if named := _NAMED_DELIMITER.fullmatch(first.strip(" ")):
            self.delimiter, first = named["delimiter"], ""
        elif self.path.suffix.lower() == ".tsv" and "\t" in first:
            self.delimiter = "\t"
        else:
            self.delimiter = max(_DELIMITERS, key=first.count)
        reader = csv.reader(
            self._feed(first, lines), delimiter=self.delimiter, skipinitialspace=True, strict=True
        )
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if reader.line_num == line:
                    raise DataRefusedError(
                        f"{self.path}, line {line + number - 1}: not valid CSV ({error}); correct that line"
                    ) from error
                raise self._open_quote(line + number - 1) from error
            if reader.line_num > line:
                raise self._open_quote(line + number - 1)
            if not self._is_blank(self._line):
                yield line + number - 1, [cell.strip() for cell in cells], ""

    def _feed(self, first: str, lines: Iterator[str]) -> Iterator[str]:
        """Yield the lines to the parser, and count those that are not empty."""
        self._line = first
        self.count = int(not self._is_blank(first))
        yield first
        for line in lines:
            self._line = line
            self.count += not self._is_blank(line)
            yield line

    def _is_blank(self, line: str) -> bool:
        return not line.strip(f'"{self.delimiter} \t\r\n\f\v')

    def _open_quote(self, line: int) -> DataRefusedError:
        return DataRefusedError(
            f'{self.path}, line {line}: a quote (") opens in this line and does not close in it, so that the '
            "rows after it would be lost. Close it, or take line breaks out of the field"
        )
