"""Writes JSON in the layout of RapidJSON's pretty writer: four blanks of indent, or arrays on one line."""

import re
from collections.abc import Sequence

_UNSAFE = re.compile(rb'["\\\x00-\x1f]')
_SHORT = {0x22: b'\\"', 0x5C: b"\\\\", 0x08: b"\\b", 0x0C: b"\\f", 0x0A: b"\\n", 0x0D: b"\\r", 0x09: b"\\t"}


def to_bytes(text: str) -> bytes:
    """Encode a string; bytes that were no UTF-8 come out as they were."""
    return text.encode("utf-8", "surrogateescape")


def escape(content: bytes) -> bytes:
    """Return a string with quotes. Bytes above 127 stay as they are, valid UTF-8 or not."""
    if _UNSAFE.search(content):
        content = _UNSAFE.sub(lambda m: _SHORT.get(m[0][0]) or b"\\u%04X" % m[0][0], content)
    return b'"' + content + b'"'


class Writer:
    """Takes tokens in their order and holds the text.

    Attributes:
        single_line: Arrays are written on one line from now on.
        parts: The text, in pieces.
        size: Its bytes.
    """

    def __init__(self) -> None:
        self.single_line = False
        self.parts: list[bytes] = []
        self.size = 0
        # A row for each open container: whether it is an array, and how many keys and values it has.
        self._levels: list[list[int]] = []

    def text(self) -> bytes:
        """Return all that was written."""
        return b"".join(self.parts)

    def start_object(self) -> None:
        """Begin an object."""
        self.raw(b"{")
        self._levels.append([0, 0])

    def end_object(self) -> None:
        """End the object."""
        _, count = self._levels.pop()
        self._put((self._indent() if count else b"") + b"}")

    def start_array(self) -> None:
        """Begin an array."""
        self.raw(b"[")
        self._levels.append([1, 0])

    def end_array(self) -> None:
        """End the array."""
        _, count = self._levels.pop()
        self._put((self._indent() if count and not self.single_line else b"") + b"]")

    def key(self, name: bytes) -> None:
        """Write a key, without quotes as it is given."""
        self.raw(escape(name))

    def raw(self, token: bytes) -> None:
        """Write a value, which is JSON already."""
        if self._levels:
            level = self._levels[-1]
            is_array, count = level
            level[1] += 1
            if is_array:
                separator = b"" if not count else b", " if self.single_line else b","
                token = separator + (b"" if self.single_line else self._indent()) + token
            elif count % 2:
                token = b": " + token
            else:
                token = (b"," if count else b"") + self._indent() + token
        self._put(token)

    def array(self, tokens: Sequence[bytes]) -> None:
        """Write an array of values, all at once."""
        self.start_array()
        if tokens:
            separator = b", " if self.single_line else b"," + self._indent()
            first = b"" if self.single_line else self._indent()
            self._put(first + separator.join(tokens))
            self._levels[-1][1] = len(tokens)
        self.end_array()

    def _indent(self) -> bytes:
        return b"\n" + b"    " * len(self._levels)

    def _put(self, token: bytes) -> None:
        self.parts.append(token)
        self.size += len(token)
