"""Status and metadata of models, as messages and as the JSON of the REST API."""

import json
from collections.abc import Iterable
from typing import Any

from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from pipeline.serving.errors import ServingError, invalid
from pipeline.serving.models.servable import Servable
from pipeline.serving.versions.records import State

SIGNATURES = "signature_def"


def fill_status(
    states: Iterable[tuple[int, State, ServingError | None]],
    response: get_model_status_pb2.GetModelStatusResponse,
) -> None:
    """Write the states of versions into a GetModelStatusResponse."""
    for number, state, error in states:
        status = response.model_version_status.add(version=number, state=int(state))
        status.status.SetInParent()
        if error is not None:
            status.status.error_code = error.number
            status.status.error_message = error.text


def status_json(response: get_model_status_pb2.GetModelStatusResponse) -> bytes:
    """Return a GetModelStatusResponse as JSON, defaults too and numbers of 64 bits as strings."""
    return _to_json(
        {
            "model_version_status": [
                {
                    "version": str(each.version),
                    "state": State(each.state).name,
                    "status": {
                        "error_code": _code_name(each.status),
                        "error_message": each.status.error_message,
                    },
                }
                for each in response.model_version_status
            ]
        }
    ).encode()


def fill_metadata(
    fields: Iterable[str], servable: Servable, response: get_model_metadata_pb2.GetModelMetadataResponse
) -> None:
    """Write a model's name, version and signatures into a GetModelMetadataResponse.

    Raises:
        ServingError: No field, or another than "signature_def", is asked for.
    """
    signatures = _signature_map(servable)
    for _ in fields:
        response.model_spec.name = servable.name
        response.model_spec.version.value = servable.version
        response.metadata[SIGNATURES].Pack(signatures)


def check_metadata_fields(fields: Iterable[str]) -> None:
    """Check the fields of a GetModelMetadataRequest.

    Raises:
        ServingError: No field, or another than "signature_def", is asked for.
    """
    fields = list(fields)
    if not fields:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for field in fields:
        if field != SIGNATURES:
            raise invalid(f"Metadata field {field} is not supported")


def metadata_json(servable: Servable) -> bytes:
    """Return a model's name, version and signatures as JSON, in TensorFlow Serving's layout."""
    spec = _to_json({"name": servable.name, "signature_name": "", "version": str(servable.version)})
    signatures = _to_json(_to_dict(_signature_map(servable)))
    return (f'{{\n"model_spec":{spec},\n"metadata": {{"signature_def": {signatures}}}\n}}\n').encode()


def _signature_map(servable: Servable) -> get_model_metadata_pb2.SignatureDefMap:
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    return signatures


def _to_dict(message: Any) -> dict[str, Any]:
    # The parameter has another name since protobuf 5.
    for parameter in ("always_print_fields_with_no_presence", "including_default_value_fields"):
        try:
            return json_format.MessageToDict(message, preserving_proto_field_name=True, **{parameter: True})
        except TypeError:
            continue
    raise AssertionError("a protobuf that can print defaults")


def _code_name(status: Any) -> str:
    kind = status.DESCRIPTOR.fields_by_name["error_code"].enum_type
    return str(kind.values_by_number[status.error_code].name)


def _to_json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
