"""Reads and writes tf.train.Example without TensorFlow.

The messages are those of tensorflow/core/example/{example,feature}.proto, same field numbers and so the same
bytes: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/example/feature.proto
They have their own package and descriptor pool: TensorFlow may be loaded in the same process, and protobuf
does not allow two definitions of a name in one pool.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from components.base.messages import Messages, make_messages
from schemas import features as features_contract

FeatureValue = bytes | int | Sequence[bytes] | Sequence[int] | Sequence[float]

# In protobuf, a map is a repeated nested entry message.
_MESSAGES: Messages = {
    "BytesList": [("value", 1, "*bytes")],
    "FloatList": [("value", 1, "*float")],
    "Int64List": [("value", 1, "*int64")],
    "Feature": [
        ("bytes_list", 1, "BytesList", "kind"),
        ("float_list", 2, "FloatList", "kind"),
        ("int64_list", 3, "Int64List", "kind"),
    ],
    "Features": [("feature", 1, "*Features.FeatureEntry")],
    "Features.FeatureEntry": [("key", 1, "string"), ("value", 2, "Feature")],
    "Example": [("features", 1, "Features")],
}
_TYPES = {bytes: "bytes", int: "int64", float: "float"}


def serialize_example(values: Mapping[str, FeatureValue]) -> bytes:
    """Return a serialized tf.train.Example of the values.

    A bytes or int value makes a feature with one entry; the first entry of a sequence decides its type
    (bytes, int, float); an empty sequence makes a feature without a type. The same values always give the
    same bytes, since features are written in the order of their names.
    """
    example = _example_class()()
    for name, value in values.items():
        feature = example.features.feature[name]
        entries = [value] if isinstance(value, (bytes, int)) else value
        if not entries:
            continue
        kind = {bytes: feature.bytes_list, int: feature.int64_list, float: feature.float_list}[
            type(entries[0])
        ]
        kind.value.extend(entries)
    serialized: bytes = example.SerializeToString(deterministic=True)
    return serialized


def parse_example(serialized: bytes) -> dict[str, list[Any]]:
    """Return the features of a serialized tf.train.Example by name, each a list of bytes, int or float.

    Raises:
        google.protobuf.message.DecodeError: The bytes are not an Example.
    """
    example = _example_class().FromString(serialized)
    values: dict[str, list[Any]] = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        values[name] = list(getattr(feature, kind).value) if kind else []
    return values


def type_problem(
    values: Mapping[str, Sequence[Any]], types: Mapping[str, str] = features_contract.TYPES
) -> str | None:
    """Return the first feature of another type than expected, with both types; None if there is none.

    Args:
        values: As `parse_example` returns them; a feature without a value has no type.
        types: `bytes`, `int64` or `float`, by the name of each feature to check.
    """
    for name, expected in types.items():
        if entries := values.get(name):
            found = _TYPES[type(entries[0])]
            if found != expected:
                return f"{name}: expected {expected}, got {found}"
    return None


@functools.cache
def _example_class() -> Any:
    return make_messages("mirante", _MESSAGES)["Example"]
