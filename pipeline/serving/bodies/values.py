"""JSON values as TensorFlow Serving's parser (RapidJSON) sees them, and how it prints them in messages.

Values are None, bool, int, float, str, list and `Members`. A string keeps bytes that are no UTF-8 as
`surrogateescape` does. An int is in the range of int64 or uint64; larger numbers are floats.
"""

import contextlib
import dataclasses
import math
from typing import Any

import numpy as np

from pipeline.serving.bodies.decimals import format_decimal, format_shortest
from pipeline.serving.bodies.writer import Writer, escape, to_bytes

_MOST_BYTES_IN_MESSAGE = 256
_MOST_FLOAT32 = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True, slots=True)
class Members:
    """An object: its keys and values in their order; of equal keys the first one counts."""

    pairs: list[tuple[str, Any]]

    def find(self, key: str, default: Any = None) -> Any:
        """Return the value of a key."""
        for name, value in self.pairs:
            if name == key:
                return value
        return default

    def __contains__(self, key: str) -> bool:
        return any(name == key for name, _ in self.pairs)


def base64_text(value: Any) -> str | None:
    """Return the text of `{"b64": text}`, None for any other value."""
    if type(value) is Members and len(value.pairs) == 1:
        key, text = value.pairs[0]
        if key == "b64" and type(text) is str:
            return text
    return None


def type_name(value: Any) -> str:
    """Return the name of a value's type, as messages have it."""
    if value is None:
        return "Null"
    if value is True:
        return "True"
    if value is False:
        return "False"
    return {Members: "Object", list: "Array", str: "String"}.get(type(value), "Number")


def to_message_text(value: Any) -> str:
    """Print a value for a message; stops after the token with which 256 bytes are reached."""
    if type(value) is float:
        return format_decimal(np.float32(value) if _fits_float32(value) else np.float64(value))
    writer = Writer()
    with contextlib.suppress(_FullError):
        _write(value, writer)
    return writer.text().decode("utf-8", "surrogateescape")


class _FullError(Exception):
    """The text is long enough."""


def _fits_float32(value: float) -> bool:
    return math.isfinite(value) and -_MOST_FLOAT32 <= value <= _MOST_FLOAT32


def _write(value: Any, writer: Writer) -> None:
    _check(writer)
    if type(value) is Members:
        writer.start_object()
        for key, inner in value.pairs:
            _check(writer)
            writer.key(to_bytes(key))
            _write(inner, writer)
        _check(writer)
        writer.end_object()
    elif type(value) is list:
        writer.start_array()
        for inner in value:
            _write(inner, writer)
        _check(writer)
        writer.end_array()
    elif type(value) is str:
        writer.raw(escape(to_bytes(value)))
    elif type(value) is float:
        if not math.isfinite(value):
            raise _FullError
        writer.raw(format_shortest(value).encode())
    elif type(value) is int:
        writer.raw(b"%d" % value)
    else:
        writer.raw(b"null" if value is None else b"true" if value else b"false")


def _check(writer: Writer) -> None:
    if writer.size >= _MOST_BYTES_IN_MESSAGE:
        raise _FullError
