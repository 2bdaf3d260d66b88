"""Tables as CSV (RFC 4180) that programs read and spreadsheets open.

- A text that a spreadsheet would run as a formula, such as a file called `=cmd.png`, gets an apostrophe in
  front, which makes it text. Numbers stay as they are.
- A table with characters beyond ASCII begins with a byte order mark, without which Excel shows other letters.
  In Python, `encoding="utf-8-sig"` reads both kinds.
"""

import contextlib
import csv
import io
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from components.base.paths import replace_file
from components.base.printable import printable

_BYTE_ORDER_MARK = "\ufeff"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
WriteRow = Callable[[Iterable[object]], None]


def format_table(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table as text, control characters escaped."""
    text = _format_row(columns) + "".join(_format_row(row) for row in rows)
    return text if text.isascii() else _BYTE_ORDER_MARK + text


@contextlib.contextmanager
def write_table(path: Path, columns: Sequence[str]) -> Iterator[WriteRow]:
    """Write a table row by row; the file appears at the end, whole.

    Args:
        path: The file; its folder must exist.
        columns: The first row.

    Yields:
        A function that writes a row.

    Raises:
        OSError: The file cannot be written; an existing one stays as it was.
    """
    is_ascii = True
    with replace_file(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:

            def write(row: Iterable[object]) -> None:
                nonlocal is_ascii
                text = _format_row(row)
                is_ascii = is_ascii and text.isascii()
                file.write(text)

            write(columns)
            yield write
        if not is_ascii:
            with (
                replace_file(temporary) as marked,
                marked.open("wb") as target,
                temporary.open("rb") as source,
            ):
                target.write(_BYTE_ORDER_MARK.encode())
                shutil.copyfileobj(source, target)


def read_table(text: str) -> list[dict[str, str]]:
    """Return the rows of a table, by their columns, without what spreadsheets need; all cells are text."""
    rows = csv.DictReader(io.StringIO(text.removeprefix(_BYTE_ORDER_MARK), newline=""))
    return [{column: _read_cell(cell) for column, cell in row.items()} for row in rows]


def _read_cell(cell: str) -> str:
    return cell[1:] if cell.startswith(tuple(f"'{letter}" for letter in _FORMULA)) else cell


def _format_row(cells: Iterable[object]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow([_format_cell(cell) for cell in cells])
    return text.getvalue()


def _format_cell(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = printable(cell)
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
