"""Fills tensors from JSON values: checks types and shapes one by one, or a whole array at once by NumPy."""

import base64
import contextlib
import dataclasses
import re
from typing import Any

import numpy as np

from pipeline.serving.arrays import Array
from pipeline.serving.bodies.values import Members, base64_text, to_message_text, type_name
from pipeline.serving.bodies.writer import to_bytes
from pipeline.serving.errors import ServingError, invalid

# TensorFlow's limit; a deeper list makes a tensor that it cannot hold.
_MOST_DIMENSIONS = 254
_INT32 = (-(2**31), 2**31 - 1)
# By TensorFlow's name of the type: NumPy's type, and the range of integers that are accepted for it.
_RANGES = {
    "int8": _INT32,
    "int16": _INT32,
    "uint8": _INT32,
    "int32": _INT32,
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
_FLOATS = {"float": np.float32, "double": np.float64}
_BLANKS = re.compile(r"[ \t\n\r\v\f]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*(=*)")


@dataclasses.dataclass(frozen=True)
class Kind:
    """The type of an input.

    Attributes:
        name: TensorFlow's name for it, such as "float" or "string".
    """

    name: str

    def read_at_once(self, value: list[Any], has_bool: bool) -> Array | None:
        """Return the array of a list of numbers; None if it has to be looked at value by value."""
        if self.name not in _FLOATS and self.name not in _RANGES:
            return None
        if has_bool:
            return None
        try:
            array = np.array(value)
        except (ValueError, OverflowError):
            return None
        if array.size == 0 or array.dtype.kind not in "iuf":
            return None
        if self.name in _FLOATS:
            return _to_floats(array, self.name)
        low, high = _RANGES[self.name]
        if array.dtype.kind == "f" or int(array.min()) < low or int(array.max()) > high:
            return None
        return array.astype(self.name)

    def convert(self, value: Any) -> Any:
        """Return one JSON value that is not a list as the tensor holds it.

        Raises:
            ServingError: Its type is another one.
        """
        if type(value) is Members:
            if self.name != "string":
                raise self._mismatch(value)
            text = base64_text(value)
            if text is None:
                raise invalid(f"JSON Value: {to_message_text(value)} not formatted correctly for base64 data")
            return decode_base64(text)
        if self.name in _FLOATS:
            if type(value) not in (int, float):
                raise self._mismatch(value)
            return value
        if self.name in _RANGES:
            low, high = _RANGES[self.name]
            if type(value) is not int or not low <= value <= high:
                raise self._mismatch(value)
            return value
        if self.name == "string":
            if type(value) is not str:
                raise self._mismatch(value)
            return to_bytes(value)
        if self.name == "bool":
            if type(value) is not bool:
                raise self._mismatch(value)
            return value
        raise ServingError(
            "UNIMPLEMENTED", f"Conversion of JSON Value: {to_message_text(value)} to type: {self.name}"
        )

    def to_array(self, values: list[Any], shape: tuple[int, ...]) -> Array:
        """Return converted values as an array of a shape."""
        if self.name == "string":
            array = np.empty(len(values), dtype=object)
            array[:] = values
        elif self.name in _FLOATS:
            array = _to_floats(np.array(values, dtype=np.float64), self.name)
        elif self.name in _RANGES:
            wide = np.array(values, dtype="uint64" if self.name == "uint64" else "int64")
            array = wide.astype(self.name)
        elif self.name == "bool":
            array = np.array(values, dtype=bool)
        else:
            array = np.zeros(0, dtype=np.float32)
        return array.reshape(shape)

    def _mismatch(self, value: Any) -> ServingError:
        return invalid(
            f"JSON Value: {to_message_text(value)} Type: {type_name(value)} is not of expected type: "
            f"{self.name}"
        )


class TensorValues:
    """The values of one input, row by row; all rows must have the shape of the first one.

    An object may have a name twice: then there are more rows than elements, and the last ones are dropped.

    Args:
        kind: The type of the input.
    """

    def __init__(self, kind: Kind):
        self._kind = kind
        self._values: list[Any] = []
        self._first: tuple[int, tuple[int, ...]] | None = None

    def add(self, row: Any) -> None:
        """Add a row.

        Raises:
            ServingError: A value has another type, or the row has another shape.
        """
        before = len(self._values)
        shape = find_shape(row)
        fill(row, self._kind, shape, self._values)
        size = len(self._values) - before
        if self._first is None:
            self._first = size, shape
        elif self._first[0] != size:
            raise invalid(f"Expecting tensor size: {self._first[0]} but got: {size}")
        elif self._first[1] != shape:
            raise invalid(f"Expecting shape {_show(self._first[1])} but got: {_show(shape)}")

    def stack(self, name: str, count: int) -> Array:
        """Return the first `count` rows as one array, rows first."""
        assert self._first is not None
        size, shape = self._first
        return _checked(self._kind, self._values[: count * size], (count, *shape), name)


def read_dense(value: Any, kind: Kind, name: str, has_bool: bool) -> Array:
    """Return the array of a JSON value, a scalar or nested lists.

    Raises:
        ServingError: A value has another type, or the lists are ragged.
    """
    if type(value) is list:
        fast = kind.read_at_once(value, has_bool)
        if fast is not None:
            return fast
    shape = find_shape(value)
    values: list[Any] = []
    fill(value, kind, shape, values)
    return _checked(kind, values, shape, name)


def find_shape(value: Any) -> tuple[int, ...]:
    """Return the lengths of the first list on each level."""
    shape = []
    while type(value) is list:
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def fill(value: Any, kind: Kind, shape: tuple[int, ...], values: list[Any]) -> None:
    """Append the converted values of nested lists in their order.

    Raises:
        ServingError: A value has another type, or is at another place than the shape says.
    """
    waiting = [(value, 0)]
    rank = len(shape)
    while waiting:
        value, level = waiting.pop()
        if type(value) is not list:
            if level != rank:
                raise invalid(
                    f"JSON Value: {to_message_text(value)} found at incorrect level: {level + 1} in the JSON "
                    f"DOM. Expected at level: {rank}"
                )
            values.append(kind.convert(value))
        elif level >= rank:
            raise invalid(f"Encountered list at unexpected level: {level} expected < {rank}")
        elif len(value) != shape[level]:
            raise invalid(
                f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
                f"{shape[level]}"
            )
        else:
            waiting += [(inner, level + 1) for inner in reversed(value)]


def decode_base64(text: str) -> bytes:
    """Decode base64 with or without padding and blanks; not the alphabet for URLs.

    Raises:
        ServingError: It is no base64.
    """
    if len(text) % 4 == 0:
        with contextlib.suppress(ValueError):
            return base64.b64decode(text, validate=True)
    content = _BLANKS.sub("", text)
    found = _BASE64.fullmatch(content)
    unpadded = content.rstrip("=")
    missing = -len(unpadded) % 4
    if found is None or missing == 3 or len(found[1]) not in (0, missing):
        raise invalid("Unable to base64 decode")
    return base64.b64decode(unpadded + "=" * missing)


def _checked(kind: Kind, values: list[Any], shape: tuple[int, ...], name: str) -> Array:
    # NumPy holds 32 or 64 dimensions, TensorFlow more: between them there are no models.
    if len(shape) > _MOST_DIMENSIONS:
        raise invalid(f"tensor parsing error: {name}")
    try:
        return kind.to_array(values, shape)
    except ValueError as e:
        raise invalid(f"tensor parsing error: {name}") from e


def _to_floats(array: Array, name: str) -> Array:
    with np.errstate(over="ignore"):
        return array.astype(_FLOATS[name])


def _show(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"
