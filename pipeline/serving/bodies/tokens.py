"""A parser with RapidJSON's rules, messages and offsets, for texts that Python's decoder refuses.

It works through states instead of by recursion, as RapidJSON does with its iterative flag, so the depth of a
text has no limit. `NaN`, `Inf` and `Infinity` are numbers, and the parser stops after the first whole value.
"""

import math
import re
from typing import Any

from pipeline.serving.bodies.values import Members
from pipeline.serving.errors import ServingError, invalid

_EMPTY = "The document is empty."
_VALUE = "Invalid value."
_NAME = "Missing a name for object member."
_COLON = "Missing a colon after a name of object member."
_CURLY = "Missing a comma or } after an object member."
_SQUARE = "Missing a comma or ] after an array element."
_HEX = "Incorrect hex digit after \\u escape in string."
_SURROGATE = "The surrogate pair in string is invalid."
_ESCAPE = "Invalid escape character in string."
_QUOTE = "Missing a closing quotation mark in string."
_ENCODING = "Invalid encoding in string."
_TOO_BIG = "Number too big to be stored in double."
_FRACTION = "Missing fraction part in number."
_EXPONENT = "Missing exponent in number."

_BLANK = re.compile(rb"[ \t\n\r]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_DIGITS = re.compile(rb"\d*")
_HEX4 = re.compile(rb"[0-9a-fA-F]{0,4}")
_ESCAPES = {0x22: '"', 0x5C: "\\", 0x2F: "/", 0x62: "\b", 0x66: "\f", 0x6E: "\n", 0x72: "\r", 0x74: "\t"}
_WORDS = {0x6E: (b"null", None), 0x74: (b"true", True), 0x66: (b"false", False)}


def read_tokens(body: bytes) -> Any:
    """Return the value with which a body begins.

    Raises:
        ServingError: The text is no JSON; the message has the offset in bytes.
    """
    return _Tokens(body).read()


class _Tokens:
    def __init__(self, body: bytes):
        # The end reads as 0, and so does a 0 in the text.
        self._text = body + b"\x00"
        self._at = 3 if body.startswith(b"\xef\xbb\xbf") else 0

    def read(self) -> Any:
        """Read one value of any kind."""
        self._skip_blanks()
        if self._text[self._at] in b"\x00]},:":
            raise self._error(_EMPTY)
        opened: list[Any] = []
        keys: list[str] = []
        while True:
            # At a value, with its containers opened.
            char = self._text[self._at]
            if char in b"{[":
                self._at += 1
                self._skip_blanks()
                is_object = char == 0x7B
                container: Any = Members([]) if is_object else []
                if self._text[self._at] == (0x7D if is_object else 0x5D):
                    self._at += 1
                    value = container
                else:
                    opened.append(container)
                    if is_object:
                        keys.append(self._read_key())
                    continue
            else:
                value = self._read_scalar(char)
            # After a value: into its container, which may end with it.
            while opened:
                inside = opened[-1]
                is_object = type(inside) is Members
                if is_object:
                    inside.pairs.append((keys.pop(), value))
                else:
                    inside.append(value)
                self._skip_blanks()
                char = self._text[self._at]
                if char == 0x2C:
                    self._at += 1
                    self._skip_blanks()
                    if is_object:
                        keys.append(self._read_key())
                    break
                if char != (0x7D if is_object else 0x5D):
                    raise self._error(_CURLY if is_object else _SQUARE)
                self._at += 1
                value = opened.pop()
            else:
                return value

    def _read_key(self) -> str:
        if self._text[self._at] != 0x22:
            raise self._error(_NAME)
        key = self._read_string()
        self._skip_blanks()
        if self._text[self._at] != 0x3A:
            raise self._error(_COLON)
        self._at += 1
        self._skip_blanks()
        return key

    def _read_scalar(self, char: int) -> Any:
        if char == 0x22:
            return self._read_string()
        if char in _WORDS:
            word, value = _WORDS[char]
            self._expect(word)
            return value
        return self._read_number()

    def _expect(self, word: bytes) -> None:
        for char in word:
            if self._text[self._at] != char:
                raise self._error(_VALUE)
            self._at += 1

    def _read_number(self) -> int | float:
        start = self._at
        is_minus = self._text[start] == 0x2D
        if is_minus:
            self._at += 1
        char = self._text[self._at]
        if char in b"NI":
            return self._read_special(is_minus)
        if char == 0x30:
            self._at += 1
        elif not self._skip_digits():
            raise self._error(_VALUE)
        is_float = False
        fraction_digits = 0
        if self._text[self._at] == 0x2E:
            is_float = True
            self._at += 1
            fraction_digits = self._skip_digits()
            if not fraction_digits:
                raise self._error(_FRACTION)
        if self._text[self._at] in b"eE":
            is_float = True
            self._at += 1
            sign = self._text[self._at]
            if sign in b"+-":
                self._at += 1
            begin = self._at
            if not self._skip_digits():
                raise self._error(_EXPONENT)
            if sign != 0x2D and int(self._text[begin : self._at][:9]) > 308 + fraction_digits:
                raise self._error(_TOO_BIG, start)
        text = self._text[start : self._at]
        if not is_float and len(text) < 21 and -(2**63) <= (whole := int(text)) < 2**64:
            return whole
        value = float(text)
        if math.isinf(value):
            raise self._error(_TOO_BIG, start)
        return value

    def _read_special(self, is_minus: bool) -> float:
        if self._text[self._at] == 0x4E:
            self._expect(b"NaN")
            return math.nan
        self._expect(b"Inf")
        if self._text[self._at] == 0x69:
            self._expect(b"inity")
        return -math.inf if is_minus else math.inf

    def _read_string(self) -> str:
        self._at += 1
        parts: list[str] = []
        while True:
            plain = _PLAIN.match(self._text, self._at)
            assert plain is not None
            parts.append(plain[0].decode("utf-8", "surrogateescape"))
            self._at = plain.end()
            char = self._text[self._at]
            if char == 0x22:
                self._at += 1
                return "".join(parts)
            if char != 0x5C:
                raise self._error(_QUOTE if char == 0 else _ENCODING)
            parts.append(self._read_escape())

    def _read_escape(self) -> str:
        start = self._at
        self._at += 1
        char = self._text[self._at]
        if char in _ESCAPES:
            self._at += 1
            return _ESCAPES[char]
        if char != 0x75:
            raise self._error(_ESCAPE, start)
        self._at += 1
        code = self._read_hex(start)
        if not 0xD800 <= code <= 0xDFFF:
            return chr(code)
        if code > 0xDBFF or self._text[self._at : self._at + 2] != b"\\u":
            raise self._error(_SURROGATE, start)
        self._at += 2
        second = self._read_hex(start)
        if not 0xDC00 <= second <= 0xDFFF:
            raise self._error(_SURROGATE, start)
        return chr(0x10000 + ((code - 0xD800) << 10) + (second - 0xDC00))

    def _read_hex(self, start: int) -> int:
        found = _HEX4.match(self._text, self._at)
        assert found is not None
        if len(found[0]) < 4:
            raise self._error(_HEX, start)
        self._at = found.end()
        return int(found[0], 16)

    def _skip_digits(self) -> int:
        found = _DIGITS.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        return len(found[0])

    def _skip_blanks(self) -> None:
        found = _BLANK.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _error(self, problem: str, at: int | None = None) -> ServingError:
        return invalid(f"JSON Parse error: {problem} at offset: {self._at if at is None else at}")
