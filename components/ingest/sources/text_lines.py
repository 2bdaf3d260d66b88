"""Reads a text file line by line, within bounds."""

from collections.abc import Iterator
from pathlib import Path

from components.base.errors import DataRefusedError

_MOST_LETTERS = 1 << 24


def read_lines(path: Path) -> Iterator[str]:
    """Yield all lines, without the ends that Unix, Windows or old Macs write.

    Raises:
        DataRefusedError: A line is not UTF-8, or longer than 16 MiB.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            while line := file.readline(_MOST_LETTERS):
                if len(line) == _MOST_LETTERS:
                    raise DataRefusedError(
                        f"{path}: expected a list with a line for each image, got a line of more than "
                        f"{_MOST_LETTERS >> 20} MiB"
                    )
                yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise DataRefusedError(
            f"{path}, line {_find_line_of_error(path)}: not UTF-8 ({error.reason}); save the list as UTF-8"
        ) from error


def _find_line_of_error(path: Path) -> int:
    """Return the number of the first line that is not UTF-8."""
    number = 1
    with path.open("rb") as file:
        for line in iter(lambda: file.readline(_MOST_LETTERS), b""):
            try:
                line.decode("utf-8-sig")
            except UnicodeDecodeError:
                break
            number += 1
    return number
