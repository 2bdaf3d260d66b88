"""Turns the body of a `:classify` or `:regress` call into the Input of the gRPC calls."""

from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow_serving.apis import input_pb2

from pipeline.serving.bodies.fill import decode_base64
from pipeline.serving.bodies.predict_request import read_signature_name
from pipeline.serving.bodies.reader import read_object
from pipeline.serving.bodies.values import Members, base64_text, to_message_text, type_name
from pipeline.serving.bodies.writer import to_bytes
from pipeline.serving.errors import ServingError, invalid

_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def read_examples(body: bytes) -> tuple[str, input_pb2.Input]:
    """Read a body with `examples`, and perhaps `context` and `signature_name`.

    Returns:
        The name of the signature, empty for the default, and the examples.

    Raises:
        ServingError: As TensorFlow Serving words it.
    """
    document = read_object(body)
    signature_name = read_signature_name(document)
    given = input_pb2.Input()
    target = given.example_list.examples
    if "context" in document:
        _fill(given.example_list_with_context.context, document.find("context"))
        target = given.example_list_with_context.examples
    shown = "JSON Value: "
    if "examples" not in document:
        raise invalid(
            f"{shown}{to_message_text(document)} When method is classify, key 'examples' is expected and was "
            "not found"
        )
    examples = document.find("examples")
    if type(examples) is not list:
        raise invalid(f"{shown}{to_message_text(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid(f"{shown}{to_message_text(document)} 'examples' value is an empty array")
    for each in examples:
        _fill(target.add(), each)
    return signature_name, given


def _fill(example: example_pb2.Example, value: Any) -> None:
    if type(value) is not Members:
        raise invalid(f"Example must be JSON object but got JSON {type_name(value)}")
    for key, content in value.pairs:
        feature = feature_pb2.Feature()
        for each in content if type(content) is list else [content]:
            _add(each, key, feature)
        # Of equal keys the last one counts here.
        example.features.feature[key].CopyFrom(feature)


def _add(value: Any, key: str, feature: feature_pb2.Feature) -> None:
    if isinstance(value, bool):
        _list_of(feature, "int64_list", key).append(int(value))
    elif type(value) is int:
        values = _list_of(feature, "int64_list", key)
        if value >= 2**63:
            raise invalid(f"Feature: {key} has uint64 element. Only int64 is supported.")
        values.append(value)
    elif type(value) is float:
        with np.errstate(over="ignore"):
            _list_of(feature, "float_list", key).append(float(np.float32(value)))
    elif type(value) is str:
        _list_of(feature, "bytes_list", key).append(to_bytes(value))
    elif (text := base64_text(value)) is not None:
        values = _list_of(feature, "bytes_list", key)
        values.append(decode_base64(text))
    else:
        raise invalid(f"Feature: {key} has element with unexpected JSON type: {type_name(value)}")


def _list_of(feature: feature_pb2.Feature, kind: str, key: str) -> Any:
    found = feature.WhichOneof("kind")
    if found not in (None, kind):
        raise _mixed(key, found)
    values = getattr(feature, kind)
    if found is None:
        values.SetInParent()
    return values.value


def _mixed(key: str, found: str) -> ServingError:
    return invalid(f"Unexpected element type in feature: {key} expecting type: {_KINDS[found]}")
