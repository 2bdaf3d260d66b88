"""A JSON object or list read piece by piece: lists that do not fit into memory, element after element.

COCO's annotations of its train split are one JSON object of half a gigabyte, several in memory.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.ingest.values import MOST_DIGITS

_CHUNK_CHARS = 1 << 20
# The annotation of a crowd takes some hundred kilobytes. In memory a value takes up to thirty times as much.
MOST_CHARS = 1 << 24
_SPACE = " \t\r\n"


class JsonError(Exception):
    """An error in a JSON text, with its line."""


def read_object(file: Path, most_chars: int = MOST_CHARS) -> Iterator[tuple[str, Any]]:
    """Yield (key, value) of a file's outermost object; of a list one pair for each of its elements.

    An empty list gives nothing. NaN and Infinity, which Python writes, are read as float.

    Args:
        file: The file.
        most_chars: A longer value, or element of a list, is an error.

    Raises:
        JsonError: The file is no such JSON, cut off, or cannot be read.
    """
    with _open(file, most_chars) as reader:
        reader.expect("{")
        if not reader.accept("}"):
            while True:
                key = reader.value()
                if not isinstance(key, str):
                    raise reader.error("expected a name in quotes")
                reader.expect(":")
                if reader.accept("["):
                    for element in reader.elements():
                        yield key, element
                else:
                    yield key, reader.value()
                if not reader.accept(","):
                    break
            reader.expect("}")
        if reader.peek():
            raise reader.error("expected nothing after the object")


def read_list(file: Path, most_chars: int = MOST_CHARS) -> Iterator[Any]:
    """Yield the elements of a file's outermost list; arguments and errors as for `read_object`."""
    with _open(file, most_chars) as reader:
        reader.expect("[")
        yield from reader.elements()
        if reader.peek():
            raise reader.error("expected nothing after the list")


@contextlib.contextmanager
def _open(file: Path, most_chars: int) -> Iterator[_Reader]:
    try:
        reader = _Reader(file, most_chars)
    except OSError as error:
        raise JsonError(f"cannot be read: {error.strerror}") from error
    try:
        yield reader
    except UnicodeDecodeError as error:
        raise reader.error("not UTF-8") from error
    except RecursionError as error:
        raise reader.error("lists or objects in each other, deeper than can be read") from error
    except OSError as error:
        raise reader.error(f"cannot be read: {error.strerror}") from error
    finally:
        reader.close()


class _TooLongError(Exception):
    """A number of more digits than anybody means."""


def _int(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise _TooLongError(f"a number of {len(digits):,} digits")
    return int(digits)


class _Reader:
    def __init__(self, file: Path, most_chars: int) -> None:
        self._most_chars = most_chars
        self._file = file.open(encoding="utf-8-sig")
        self._text = ""
        self._at = 0
        self._line = 1
        self._decoder = json.JSONDecoder(parse_int=_int)

    def close(self) -> None:
        self._file.close()

    def error(self, what: str, at: int | None = None) -> JsonError:
        """An error at the place that is read, or at another one of the text in hand."""
        at = self._at if at is None else at
        return JsonError(f"line {self._line + self._text.count(chr(10), 0, at)}: {what}")

    def _more(self) -> bool:
        """Read on; as much again as there is, so that long values are not tried too often."""
        read = self._file.read(max(_CHUNK_CHARS, len(self._text) - self._at))
        self._line += self._text.count("\n", 0, self._at)
        self._text, self._at = self._text[self._at :] + read, 0
        return bool(read)

    def peek(self) -> str:
        """Return the next letter that is no space; "" at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def accept(self, letter: str) -> bool:
        """Return whether it is the next letter, which is then passed."""
        if self.peek() != letter:
            return False
        self._at += 1
        return True

    def expect(self, letter: str) -> None:
        """Passes the letter."""
        if not self.accept(letter):
            found = self.peek()
            raise self.error(f"expected {letter!r}, found {found!r}" if found else "the file is cut off")

    def elements(self) -> Iterator[Any]:
        """Yield the rest of a list whose bracket was passed, element by element."""
        if not self.accept("]"):
            while True:
                yield self.value()
                if not self.accept(","):
                    break
            self.expect("]")

    def value(self) -> Any:
        """Return the next value, whole."""
        self.peek()
        while True:
            error: json.JSONDecodeError | None = None
            end, value = -1, None
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as caught:
                error = caught
            except _TooLongError as caught_too:
                raise self.error(str(caught_too)) from caught_too
            # A number may continue after the text in hand.
            if error is None and end < len(self._text):
                self._at = end
                return value
            if len(self._text) - self._at > self._most_chars:
                raise self.error(f"a value of more than {self._most_chars >> 20} MiB")
            # Far from the end of what is in hand no more of it makes it right; but the place of a text that
            # does not end is where it begins.
            hopeless = (
                error is not None
                and error.pos < len(self._text) - 64
                and not error.msg.startswith("Unterminated string")
            )
            if hopeless or not self._more():
                if error is None:
                    self._at = end
                    return value
                what = error.msg if hopeless else f"the file is cut off ({error.msg})"
                raise self.error(what, min(error.pos, len(self._text))) from error
