"""Classes of protobuf messages from a table of their fields, where the generated code is not at hand."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# Message, then its fields: name, number, kind and, if it is in one, the name of the message's only oneof. A
# kind is a scalar in lower case, a message of the table, or one of google.protobuf; `*` is for repeated ones.
Messages = Mapping[str, Sequence[tuple[Any, ...]]]

_FIELD = descriptor_pb2.FieldDescriptorProto


def make_messages(
    package: str,
    messages: Messages,
    *,
    syntax: str = "proto3",
    imports: Sequence[str] = (),
    pool: descriptor_pool.DescriptorPool | None = None,
) -> dict[str, Any]:
    """Return the classes of messages by their names.

    Args:
        package: The package of the messages.
        messages: The table. A message `Outer.Inner` is the entry of a map: it has a key and a value.
        syntax: proto2 or proto3.
        imports: Files that `pool` has, and whose messages are used.
        pool: Where the messages are defined; a new one when not given, so that names do not meet others.
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax=syntax)
    file.dependency.extend(imports)
    added: dict[str, Any] = {}
    for name, fields in messages.items():
        outer, _, inner = name.rpartition(".")
        message = added[name] = (added[outer].nested_type if outer else file.message_type).add(name=inner)
        if outer:
            message.options.map_entry = True
        for field_name, number, kind, *oneof in fields:
            field = message.field.add(name=field_name, number=number, label=_FIELD.LABEL_OPTIONAL)
            if kind.startswith("*"):
                field.label = _FIELD.LABEL_REPEATED
            kind = kind.lstrip("*")
            if kind.islower():
                field.type = _FIELD.Type.Value(f"TYPE_{kind.upper()}")
            else:
                field.type = _FIELD.TYPE_MESSAGE
                field.type_name = f".{kind}" if kind.startswith("google.") else f".{package}.{kind}"
            if oneof:
                field.oneof_index = 0
                if not message.oneof_decl:
                    message.oneof_decl.add(name=oneof[0])
    pool = pool or descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: _class_of(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages}


def _class_of(descriptor: Any) -> Any:
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    # protobuf before 4.22, which TFX 1.16 brings on Python 3.10.
    return message_factory.MessageFactory(descriptor.file.pool).GetPrototype(descriptor)
