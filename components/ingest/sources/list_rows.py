"""The rows of a list, whatever its format: what the formats have in common."""

import json
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Protocol

from components.ingest.values import words

# Its number, from 1; its cells as text; why it cannot be read, or "".
RawRow = tuple[int, list[str], str]


class ImageCell(str):
    """The name of an image whose bytes are in the list itself.

    Attributes:
        encoded: The bytes.
    """

    encoded: bytes


class OnlyCell(str):
    """The text of a list that has no other: no separator divides it."""


class RawList(Protocol):
    """The rows of a list.

    Attributes:
        path: The file.
        names: The names of the columns, if the format has them; None if the first row may be the names.
        unit: What a row is called in messages: line or row.
        count: Rows read so far by the latest `rows`, counted by other means than it yields them.
    """

    path: Path
    names: Sequence[str] | None
    unit: str
    count: int

    def rows(self) -> Generator[RawRow, None, None]:
        """Yield all rows that are not empty, in order; the file is open until the generator is closed.

        Raises:
            DataRefusedError: The list is damaged.
        """


def format_cell(value: object) -> str:
    """Return a value of JSON or Parquet as a CSV has it: nothing is "", a list of one value is that value.

    Raises:
        ValueError: A text has half a letter (a lone surrogate).
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return words(value).strip()
    if value != value:  # nan: pandas writes it for what is missing
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and len(value) == 1:
        cell = format_cell(value[0])
        return OnlyCell(cell) if isinstance(value[0], str) else cell
    if isinstance(value, (list, dict)):
        return words(json.dumps(value, ensure_ascii=False, default=str)) if value else ""
    return str(value)


def is_object(cell: str) -> bool:
    """Return whether a cell holds an object of JSON, or several: such as the boxes of an image."""
    return cell.startswith(("{", "[{")) and cell.endswith(("}", "}]")) and ":" in cell
