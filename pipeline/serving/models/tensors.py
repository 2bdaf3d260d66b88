"""TensorProto to NumPy and back, by the rules of TensorFlow's C++ `Tensor::FromProto`.

Values that are missing repeat the last one, none at all are zeros, and what is too much is dropped.
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.serving.arrays import Array
from pipeline.serving.errors import ServingError, invalid

_FIELDS = {
    "float16": "half_val",
    "bfloat16": "half_val",
    "float32": "float_val",
    "float64": "double_val",
    "int8": "int_val",
    "int16": "int_val",
    "int32": "int_val",
    "uint8": "int_val",
    "uint16": "int_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "string": "string_val",
    "complex64": "scomplex_val",
    "complex128": "dcomplex_val",
}
_MOST_DIMENSIONS = 254
# What a few bytes of a message may become, since the last value repeats.
_MOST_REPEATED_BYTES = 256 * 2**20


def read_tensor(proto: Any, alias: str, max_bytes: int) -> Array:
    """Return the array of a TensorProto; strings are an array of bytes objects.

    Args:
        proto: The TensorProto.
        alias: Its name, for messages.
        max_bytes: Refuse what would take more.

    Raises:
        ServingError: It is no tensor, or too large.
    """
    try:
        dtype = tf.dtypes.as_dtype(proto.dtype)
        field = _FIELDS[dtype.name]
    except (TypeError, KeyError) as e:
        raise _malformed(alias) from e
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or len(shape) > _MOST_DIMENSIONS or min(shape, default=0) < 0:
        raise _malformed(alias)
    size = math.prod(shape)
    if not proto.tensor_content and len(getattr(proto, field)) < size:
        max_bytes = min(max_bytes, _MOST_REPEATED_BYTES)
    if size * max(dtype.size or 8, 1) > max_bytes:
        raise ServingError(
            "RESOURCE_EXHAUSTED",
            f"tensor {alias}: expected at most {max_bytes} bytes, got shape {list(shape)}",
        )
    try:
        values = _read_content(proto.tensor_content, dtype, size, alias) if proto.tensor_content else None
        if values is None:
            values = _read_values(getattr(proto, field), dtype, size)
        return values.reshape(shape)
    except ValueError as e:
        raise _malformed(alias) from e


def write_tensor(array: Array, proto: Any, as_content: bool) -> None:
    """Write an array into a TensorProto, as typed fields or as its bytes."""
    dtype = tf.string if array.dtype == object else tf.dtypes.as_dtype(array.dtype)
    proto.dtype = dtype.as_datatype_enum
    proto.tensor_shape.SetInParent()
    for length in array.shape:
        proto.tensor_shape.dim.add(size=length)
    if as_content:
        if dtype != tf.string:
            proto.tensor_content = array.tobytes()
        else:
            flat = array.ravel().tolist()
            proto.tensor_content = b"".join([*(_to_varint(len(each)) for each in flat), *flat])
        return
    field = getattr(proto, _FIELDS[dtype.name])
    flat = array.ravel()
    if dtype.is_complex:
        flat = flat.view(np.float32 if dtype == tf.complex64 else np.float64)
    elif dtype in (tf.float16, tf.bfloat16):
        flat = flat.view(np.uint16)
    field.extend(flat.tolist())


def _read_values(values: Any, dtype: tf.DType, size: int) -> Array:
    if dtype == tf.string:
        array = np.empty(size, dtype=object)
        strings = list(values[:size])
        array[: len(strings)] = strings
        array[len(strings) :] = strings[-1] if strings else b""
        return array
    numpy_type = dtype.as_numpy_dtype
    given: Array
    if dtype.is_complex:
        parts = np.array(values[: len(values) // 2 * 2], dtype=np.float64).reshape(-1, 2)
        given = parts[:, 0] + 1j * parts[:, 1]
    elif dtype in (tf.float16, tf.bfloat16):
        given = (np.array(values, dtype=np.int64) & 0xFFFF).astype(np.uint16).view(numpy_type)
    else:
        given = np.array(values, dtype="uint64" if dtype == tf.uint64 else None)
    array = np.zeros(size, dtype=numpy_type)
    with np.errstate(over="ignore", invalid="ignore"):
        given = given[:size].astype(numpy_type)
    array[: len(given)] = given
    if len(given):
        array[len(given) :] = given[-1]
    return array


def _read_content(content: bytes, dtype: tf.DType, size: int, alias: str) -> Array:
    if dtype != tf.string:
        array = np.frombuffer(content, dtype=dtype.as_numpy_dtype)
        if len(array) != size:
            raise _malformed(alias)
        return array
    lengths, at = [], 0
    for _ in range(size):
        length, at = _read_varint(content, at, alias)
        lengths.append(length)
    if at + sum(lengths) != len(content):
        raise _malformed(alias)
    strings = np.empty(size, dtype=object)
    for number, length in enumerate(lengths):
        strings[number] = content[at : at + length]
        at += length
    return strings


def _read_varint(content: bytes, at: int, alias: str) -> tuple[int, int]:
    value = shift = 0
    while at < len(content) and shift < 35:
        value |= (content[at] & 0x7F) << shift
        at += 1
        if content[at - 1] < 0x80:
            return value, at
        shift += 7
    raise _malformed(alias)


def _to_varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _malformed(alias: str) -> ServingError:
    return invalid(f"tensor parsing error: {alias}")
