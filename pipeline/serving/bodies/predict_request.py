"""Turns the body of a `:predict` call into the tensors of a signature, as rows or as columns."""

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.serving.arrays import Array
from pipeline.serving.bodies.fill import Kind, TensorValues, read_dense
from pipeline.serving.bodies.reader import read_object
from pipeline.serving.bodies.values import Members, base64_text, to_message_text
from pipeline.serving.errors import ServingError, invalid

Inputs = Mapping[str, Kind]


def read_predict_request(
    body: bytes, inputs_of: Callable[[str], Inputs]
) -> tuple[str, bool, dict[str, Array]]:
    """Read a body.

    Args:
        body: JSON with `instances` (rows) or `inputs` (columns), and perhaps `signature_name`.
        inputs_of: Returns the types of a signature's inputs; the empty name is the default signature.

    Returns:
        The name of the signature, whether rows were given, and an array for each input. Strings are arrays of
        bytes objects.

    Raises:
        ServingError: As TensorFlow Serving words it.
    """
    document = read_object(body)
    signature_name = read_signature_name(document)
    inputs = inputs_of(signature_name)
    if not inputs:
        raise invalid(f"Failed to get input map for signature: {signature_name or 'DEFAULT'}")
    has_bool = b"true" in body or b"false" in body
    has_instances, has_inputs = "instances" in document, "inputs" in document
    if has_instances and has_inputs:
        raise _malformed(
            document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    if has_instances:
        rows = document.find("instances")
        if type(rows) is not list:
            raise _malformed(document, "Expecting 'instances' to be an list/array")
        if not rows:
            raise _malformed(document, "No values in 'instances' array")
        return signature_name, True, _read_rows(rows, inputs, has_bool)
    if has_inputs:
        return signature_name, False, _read_columns(document.find("inputs"), inputs, has_bool)
    raise invalid("Missing 'inputs' or 'instances' key")


def read_signature_name(document: Members) -> str:
    """Return `signature_name`, the empty string where there is none."""
    if "signature_name" not in document:
        return ""
    name = document.find("signature_name")
    if type(name) is not str:
        raise _malformed(document, "not formatted correctly. 'signature_name' key must be a string value.")
    return name


def _malformed(document: Members, problem: str) -> ServingError:
    return invalid(f"JSON Value: {to_message_text(document)} {problem}")


def _is_object(value: Any) -> bool:
    return type(value) is Members and base64_text(value) is None


def _read_rows(rows: list[Any], inputs: Inputs, has_bool: bool) -> dict[str, Array]:
    if type(rows[0]) is not Members and len(inputs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required "
            "as per tensorinfo_map"
        )
    if _is_object(rows[0]):
        return _read_object_rows(rows, inputs)
    name, kind = min(inputs.items())
    fast = kind.read_at_once(rows, has_bool)
    if fast is not None:
        return {name: fast}
    values = TensorValues(kind)
    for number, row in enumerate(rows):
        if _is_object(row):
            raise invalid(f"Expecting value/list but got object at item {number} of input list")
        try:
            values.add(row)
        except ServingError as e:
            raise invalid(f"Failed to process element: {number} of 'instances' list. Error: {e}") from e
    return {name: values.stack(name, len(rows))}


def _read_object_rows(rows: list[Any], inputs: Inputs) -> dict[str, Array]:
    values = {name: TensorValues(kind) for name, kind in inputs.items()}
    for number, row in enumerate(rows):
        if not _is_object(row):
            raise invalid(f"Expecting object but got list at item {number} of input list")
        for name, value in row.pairs:
            try:
                if name not in values:
                    raise invalid(f"JSON object: does not have named input: {name}")
                values[name].add(value)
            except ServingError as e:
                raise invalid(
                    f"Failed to process element: {number} key: {name} of 'instances' list. Error: {e}"
                ) from e
        if {name for name, _ in row.pairs} != set(inputs):
            raise invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object: "
                f"{to_message_text(row)} keys must be equal to: {','.join(sorted(inputs))}"
            )
    return {name: each.stack(name, len(rows)) for name, each in values.items()}


def _read_columns(value: Any, inputs: Inputs, has_bool: bool) -> dict[str, Array]:
    if not _is_object(value):
        if len(inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required "
                "as per tensorinfo_map"
            )
        name, kind = min(inputs.items())
        return {name: read_dense(value, kind, name, has_bool)}
    read = {}
    for name, kind in sorted(inputs.items()):
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        read[name] = read_dense(value.find(name), kind, name, has_bool)
    return read
