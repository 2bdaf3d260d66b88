"""Reads a list in JSON Lines: an object in each line, its keys are the columns.

    {"file_name": "1.jpg", "label": "cat"}

The columns are the keys of the first objects. A key that an object lacks, and null, are empty cells.
"""

import itertools
import json
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.ingest.sources.list_layouts import SPLIT_COLUMNS
from components.ingest.sources.list_rows import RawRow, format_cell
from components.ingest.sources.text_lines import read_lines
from components.ingest.values import MOST_DIGITS, brief

# Objects that are looked at for the names of the columns.
_OBJECTS_LOOKED_AT = 20


class JsonLines:
    """The rows of a list in JSON Lines.

    Attributes:
        names: The columns.
        unit: What a row is called.
        count: Lines read so far that are not empty.

    Raises:
        DataRefusedError: The first lines are not UTF-8.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.unit, self.count = path, "line", 0
        names: dict[str, None] = {}
        for _, value, _ in itertools.islice(self._objects(), _OBJECTS_LOOKED_AT):
            names.update(dict.fromkeys(value or ()))
        self.names: Sequence[str] | None = list(names)

    def rows(self) -> Generator[RawRow, None, None]:
        """Yield (number of the line, its cells, why it cannot be read) of lines that are not empty.

        Raises:
            DataRefusedError: A line is not UTF-8, or too long.
        """
        names = self.names or ()
        self.count = 0
        for number, value, problem in self._objects():
            cells: list[str] = []
            try:
                if late := _find_late_split(value or {}, names):
                    raise ValueError(
                        f"it has the key {late!r}, which none of the first {_OBJECTS_LOOKED_AT} objects has: "
                        "add it to the first one, as null if that has no split"
                    )
                if value is not None:
                    cells = [format_cell(value.get(name)) for name in names]
            except ValueError as error:
                problem = str(error)
            yield number, cells, problem

    def _objects(self) -> Iterator[tuple[int, dict[str, Any] | None, str]]:
        """Yield (number of the line, its object, why it has none)."""
        for number, line in enumerate(read_lines(self.path), 1):
            if not line.strip():
                continue
            self.count += 1
            value, problem = None, ""
            try:
                value = json.loads(line, parse_int=_read_int)
            except json.JSONDecodeError as error:
                problem = f"not JSON: {error.msg} at letter {error.pos + 1}"
            except (ValueError, RecursionError) as error:
                problem = f"not read: {error}"
            if value is not None and not isinstance(value, dict):
                value, problem = None, f"expected an object, got {brief(value)}"
            elif value is None and not problem:
                problem = "expected an object, got null"
            yield number, value, problem


def _find_late_split(value: Mapping[str, Any], names: Collection[str]) -> str:
    """Return the key of an object's split if the list has no column of splits; "" if the object has none."""
    late = [key for key in value if key not in names and key.strip().lower() in SPLIT_COLUMNS and value[key]]
    if not late or any(name.strip().lower() in SPLIT_COLUMNS for name in names):
        return ""
    return late[0]


def _read_int(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)
