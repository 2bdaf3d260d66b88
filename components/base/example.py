"""Reads and writes tf.train.Example without TensorFlow.

The messages are those of tensorflow/core/example/{example,feature}.proto, same field numbers and so the same
bytes: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/example/feature.proto
They have their own package and descriptor pool: TensorFlow may be loaded in the same process, and protobuf
does not allow two definitions of a name in one pool.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from schemas import features as features_contract

FeatureValue = bytes | int | Sequence[bytes] | Sequence[int] | Sequence[float]

_PACKAGE = "mirante"
_FIELD = descriptor_pb2.FieldDescriptorProto
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


@functools.lru_cache(maxsize=1)
def _example_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="mirante/example.proto", package=_PACKAGE, syntax="proto3")
    for name, field_type in (
        ("BytesList", _FIELD.TYPE_BYTES),
        ("FloatList", _FIELD.TYPE_FLOAT),
        ("Int64List", _FIELD.TYPE_INT64),
    ):
        field = file.message_type.add(name=name).field.add(
            name="value", number=1, type=field_type, label=_FIELD.LABEL_REPEATED
        )
        if field_type != _FIELD.TYPE_BYTES:
            field.options.packed = True

    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, kind) in enumerate(
        (("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List")), start=1
    ):
        field = feature.field.add(name=name, number=number, type=_FIELD.TYPE_MESSAGE, oneof_index=0)
        field.label = _FIELD.LABEL_OPTIONAL
        field.type_name = f".{_PACKAGE}.{kind}"

    # map<string, Feature> feature = 1: in protobuf, a map is a repeated nested entry message.
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
    value = entry.field.add(name="value", number=2, type=_FIELD.TYPE_MESSAGE, label=_FIELD.LABEL_OPTIONAL)
    value.type_name = f".{_PACKAGE}.Feature"
    mapping = features.field.add(
        name="feature", number=1, type=_FIELD.TYPE_MESSAGE, label=_FIELD.LABEL_REPEATED
    )
    mapping.type_name = f".{_PACKAGE}.Features.FeatureEntry"

    example = file.message_type.add(name="Example")
    field = example.field.add(
        name="features", number=1, type=_FIELD.TYPE_MESSAGE, label=_FIELD.LABEL_OPTIONAL
    )
    field.type_name = f".{_PACKAGE}.Features"

    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_class(pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))


def message_class(descriptor: Any) -> Any:
    """Return the class of a message from its descriptor, with any version of protobuf."""
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    # protobuf before 4.22, which TFX 1.16 brings on Python 3.10.
    return message_factory.MessageFactory(descriptor.file.pool).GetPrototype(descriptor)
