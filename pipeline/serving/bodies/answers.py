"""Answers of the REST API as JSON: tensors as rows or columns, classes, values, and errors."""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pipeline.serving.arrays import Array
from pipeline.serving.bodies.decimals import format_decimals
from pipeline.serving.bodies.writer import Writer, escape, to_bytes
from pipeline.serving.errors import invalid

# TensorFlow's names where NumPy has others.
_TENSORFLOW_NAMES = {"float16": "half"}


def write_rows(outputs: Mapping[str, Array]) -> bytes:
    """Write `{"predictions": [...]}`, an element per row; objects if there are several outputs.

    Raises:
        ServingError: The outputs have no rows, or not equally many, or a type without a JSON form.
    """
    _check_any(outputs)
    count = -1
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if count >= 0 and len(array) != count:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {count}")
        count = len(array)
    writer = Writer()
    writer.start_object()
    writer.key(b"predictions")
    writer.start_array()
    columns = {to_bytes(name): _Column(name, array) for name, array in outputs.items()}
    are_objects = len(columns) > 1
    for row in range(count):
        if are_objects:
            writer.start_object()
        writer.single_line = True
        for key, column in columns.items():
            if are_objects:
                writer.key(key)
            column.write_row(writer, row)
        writer.single_line = False
        if are_objects:
            writer.end_object()
    writer.end_array()
    writer.end_object()
    return writer.text()


def write_columns(outputs: Mapping[str, Array]) -> bytes:
    """Write `{"outputs": ...}`: the tensor, or an object of tensors if there are several.

    Raises:
        ServingError: A tensor has a type without a JSON form.
    """
    _check_any(outputs)
    writer = Writer()
    writer.start_object()
    writer.key(b"outputs")
    if len(outputs) > 1:
        writer.start_object()
    for name, array in outputs.items():
        if len(outputs) > 1:
            writer.key(to_bytes(name))
        _Column(name, array).write_all(writer)
    if len(outputs) > 1:
        writer.end_object()
    writer.end_object()
    return writer.text()


def write_classes(results: Iterable[Sequence[tuple[bytes, float]]]) -> bytes:
    """Write `{"results": [[["label", score], ...], ...]}`."""
    writer = Writer()
    writer.start_object()
    writer.key(b"results")
    writer.start_array()
    for classes in results:
        writer.single_line = True
        writer.start_array()
        scores = _format([score for _, score in classes])
        for (label, _), score in zip(classes, scores, strict=True):
            writer.array([escape(label), score])
        writer.end_array()
        writer.single_line = False
    writer.end_array()
    writer.end_object()
    return writer.text()


def write_values(values: Sequence[float]) -> bytes:
    """Write `{"results": [1.0, ...]}`."""
    writer = Writer()
    writer.start_object()
    writer.key(b"results")
    writer.single_line = True
    writer.array(_format(values))
    writer.end_object()
    return writer.text()


def write_error(message: str) -> bytes:
    """Write `{"error": message}`."""
    writer = Writer()
    writer.start_object()
    writer.key(b"error")
    writer.raw(escape(message.encode("utf-8", "surrogateescape")))
    writer.end_object()
    return writer.text()


def _check_any(outputs: Mapping[str, Array]) -> None:
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")


def _format(values: Sequence[float]) -> list[bytes]:
    return [text.encode() for text in format_decimals(np.asarray(values, dtype=np.float32))]


class _Column:
    """The values of a tensor as tokens, and how its lists are nested."""

    def __init__(self, name: str, array: Array):
        self._shape = array.shape
        self._is_base64 = array.dtype == object and name.endswith("_bytes")
        self._tokens = array.ravel().tolist() if self._is_base64 else _to_tokens(array)

    def write_all(self, writer: Writer) -> None:
        self._write(writer, 0, 0)

    def write_row(self, writer: Writer, row: int) -> None:
        self._write(writer, 1, row * math.prod(self._shape[1:]))

    def _write(self, writer: Writer, level: int, start: int) -> None:
        if level == len(self._shape):
            self._write_one(writer, self._tokens[start])
            return
        length = self._shape[level]
        if level == len(self._shape) - 1 and not self._is_base64:
            writer.array(self._tokens[start : start + length])
            return
        step = math.prod(self._shape[level + 1 :])
        writer.start_array()
        for number in range(length):
            self._write(writer, level + 1, start + number * step)
        writer.end_array()

    def _write_one(self, writer: Writer, token: bytes) -> None:
        if not self._is_base64:
            writer.raw(token)
            return
        writer.start_object()
        writer.key(b"b64")
        writer.raw(b'"' + base64.b64encode(token) + b'"')
        writer.end_object()


def _to_tokens(array: Array) -> list[bytes]:
    flat = array.ravel()
    kind = flat.dtype.kind
    if not flat.size:
        return []
    if flat.dtype in (np.float32, np.float64):
        return [text.encode() for text in format_decimals(flat)]
    if kind == "b":
        return [b"true" if value else b"false" for value in flat.tolist()]
    if kind in "iu" and flat.dtype != np.uint16:
        return [b"%d" % value for value in flat.tolist()]
    if kind == "O":
        return [escape(value) for value in flat.tolist()]
    name = flat.dtype.name
    raise invalid(f"Failed to write JSON value for tensor type: {_TENSORFLOW_NAMES.get(name, name)}")
