"""KServe's V2 protocol (Open Inference Protocol) over HTTP, for a model's default signature.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
Tensors are JSON, or bytes behind it with the header `Inference-Header-Content-Length`.
"""

import json
import re
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.serving.arrays import Array
from pipeline.serving.bodies.fill import decode_base64
from pipeline.serving.errors import ServingError, invalid, to_error
from pipeline.serving.extensions import list_unready, to_answer
from pipeline.serving.models.running import compute, size_as_json
from pipeline.serving.models.saved_model import DEFAULT_SIGNATURE
from pipeline.serving.rest import Answer
from pipeline.serving.versions.shelf import Shelf

# NumPy 1 has arrays of no more; how deep Python may recurse is different in each version.
_MOST_DIMENSIONS = 32
_TYPES = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}
_NAMES = {np.dtype(kind): name for name, kind in _TYPES.items()}
_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([0-9]{1,19}))?(?:/(ready|infer))?")


class OpenInference:
    """Answers below /v2.

    Args:
        shelf: The models.
        timeout_ms: Longest time of a model for a call; 0 for no limit.
    """

    HEALTH_PATHS = ("/v2/health/live", "/v2/health/ready")

    def __init__(self, shelf: Shelf, timeout_ms: int):
        self._shelf = shelf
        self._timeout_ms = timeout_ms

    async def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """Answer a call; None for another path."""
        if path != "/v2" and not path.startswith("/v2/"):
            return None
        try:
            return await self._answer(method, path.partition("?")[0], headers, body)
        except Exception as caught:  # noqa: BLE001  # Whatever it is, the client gets an answer.
            e = to_error(caught)
            return to_answer({"error": e.message}, e.http_status)

    async def _answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if method == "GET" and path == "/v2":
            return to_answer({"name": "mirante", "version": "2", "extensions": ["binary_tensor_data"]})
        if method == "GET" and path == "/v2/health/live":
            return to_answer({"live": True})
        if method == "GET" and path == "/v2/health/ready":
            is_ready = not list_unready(self._shelf)
            return to_answer({"ready": is_ready}, 200 if is_ready else 503)
        found = _MODEL.fullmatch(path)
        if found is None:
            raise ServingError("NOT_FOUND", f"{path}: expected a path of the V2 protocol")
        name, version, action = found.groups()
        number = int(version) if version else None
        if method != ("POST" if action == "infer" else "GET"):
            raise invalid(f"{path}: expected another method than {method}")
        with self._shelf.find(name, number, None) as servable:
            if action == "ready":
                return to_answer({"name": name, "ready": True})
            signature = servable.signatures.get(DEFAULT_SIGNATURE)
            if signature is None:
                raise ServingError("NOT_FOUND", f"model {name}: expected a signature {DEFAULT_SIGNATURE}")
            if action is None:
                return to_answer(
                    {
                        "name": name,
                        "versions": [str(servable.version)],
                        "platform": "tensorflow_savedmodel",
                        "inputs": _describe(signature.inputs),
                        "outputs": _describe(signature.outputs),
                    }
                )
            request, inputs = await compute(len(body), _read_request, headers, body)
            wanted = [each["name"] for each in _tensors(request, "outputs")] if request.get("outputs") else []
            outputs = await servable.predict("", inputs, wanted, self._timeout_ms)
        answer = {"model_name": name, "model_version": str(servable.version)}
        if isinstance(request.get("id"), str):
            answer["id"] = request["id"]
        return await compute(size_as_json(outputs), _write_answer, answer, outputs)


def _describe(infos: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": alias,
            "datatype": _NAMES.get(np.dtype(tf.dtypes.as_dtype(info.dtype).as_numpy_dtype), "BYTES"),
            "shape": [dim.size for dim in info.tensor_shape.dim],
        }
        for alias, info in sorted(infos.items())
    ]


def _read_request(headers: Mapping[str, str], body: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the JSON of a request, and its inputs."""
    request, blobs = _split(headers, body)
    inputs: dict[str, Array] = {}
    for each in _tensors(request, "inputs"):
        if each["name"] in inputs:
            raise invalid(f"input {each['name']}: expected it once")
        size = _binary_size(each)
        inputs[each["name"]] = _read(each, None if size is None else blobs[:size])
        blobs = blobs[size or 0 :]
    if blobs:
        raise invalid(f"body: expected no bytes behind the inputs, got {len(blobs)}")
    return request, inputs


def _write_answer(answer: dict[str, Any], outputs: Mapping[str, Array]) -> Answer:
    return to_answer({**answer, "outputs": [_write(alias, array) for alias, array in outputs.items()]})


def _split(headers: Mapping[str, str], body: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the JSON of a request, and the bytes behind it."""
    length = headers.get("inference-header-content-length", str(len(body)))
    if not (length.isascii() and length.isdecimal() and len(length) < 20):
        raise invalid(f"inference-header-content-length: expected a number, got {length}")
    try:
        request = json.loads(body[: int(length)])
    except (ValueError, RecursionError) as e:
        raise invalid(f"body: expected JSON: {e}") from e
    if not isinstance(request, dict):
        raise invalid("body: expected an object")
    return request, body[int(length) :]


def _tensors(request: dict[str, Any], key: str) -> list[dict[str, Any]]:
    tensors = request.get(key)
    if not isinstance(tensors, list) or not all(
        isinstance(each, dict) and isinstance(each.get("name"), str) for each in tensors
    ):
        raise invalid(f"{key}: expected a list of objects with a name")
    return tensors


def _binary_size(tensor: dict[str, Any]) -> int | None:
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and (type(size) is not int or size < 0):
        raise invalid(f"input {tensor['name']}: binary_data_size: expected a number, got {size}")
    return size


def _read(tensor: dict[str, Any], content: bytes | None) -> Array:
    name, kind, shape = tensor["name"], tensor.get("datatype"), tensor.get("shape")
    if not isinstance(kind, str) or (kind != "BYTES" and kind not in _TYPES):
        raise invalid(f"input {name}: datatype: expected BYTES or one of {', '.join(_TYPES)}, got {kind}")
    if not isinstance(shape, list) or not all(isinstance(each, int) and each >= 0 for each in shape):
        raise invalid(f"input {name}: shape: expected a list of numbers, got {shape}")
    try:
        if content is not None:
            return _read_binary(content, kind, shape)
        if kind != "BYTES":
            return _to_numbers(_flatten(tensor.get("data")), kind).reshape(shape)
        strings = [_to_bytes(each) for each in _flatten(tensor.get("data"))]
        # As long as the strings are, not as the shape says: one string would be repeated.
        array = np.empty(len(strings), dtype=object)
        array[:] = strings
        return array.reshape(shape)
    except (ValueError, TypeError, OverflowError, struct.error) as e:
        raise invalid(f"input {name}: expected {kind} of shape {shape}: {e}") from e


def _to_numbers(values: list[Any], kind: str) -> Array:
    """Return values of JSON as an array; NumPy would turn texts into numbers, and cut 1.5 to 1."""
    dtype: np.dtype[Any] = np.dtype(_TYPES[kind])
    expected: dict[str, set[type]] = {"b": {bool}, "f": {int, float}}
    allowed = expected.get(dtype.kind, {int})
    for each in values:
        if type(each) not in allowed:
            raise ValueError(f"got {each!r}")
    if dtype.kind in "iu" and values:
        limits = np.iinfo(dtype)
        for extreme in (min(values), max(values)):
            if not limits.min <= extreme <= limits.max:
                raise ValueError(f"got {extreme}")
    with np.errstate(over="ignore"):
        return np.array(values, dtype=dtype)


def _read_binary(content: bytes, kind: str, shape: list[int]) -> Array:
    if kind != "BYTES":
        return np.frombuffer(content, dtype=_TYPES[kind]).reshape(shape)
    strings, at = [], 0
    while at < len(content):
        (length,) = struct.unpack_from("<I", content, at)
        at += 4 + length
        if at > len(content):
            raise ValueError("the last string is cut")
        strings.append(content[at - length : at])
    array = np.empty(len(strings), dtype=object)
    array[:] = strings
    return array.reshape(shape)


def _flatten(value: Any, depth: int = 0) -> list[Any]:
    if not isinstance(value, list):
        return [value]
    if depth == _MOST_DIMENSIONS:
        raise ValueError(f"got lists nested more than {depth} deep")
    return [inner for each in value for inner in _flatten(each, depth + 1)]


def _to_bytes(value: Any) -> bytes:
    if isinstance(value, dict) and isinstance(value.get("b64"), str):
        return decode_base64(value["b64"])
    if not isinstance(value, str):
        raise ValueError(f"got {value!r}")
    return value.encode("utf-8", "surrogatepass")


def _write(alias: str, array: Array) -> dict[str, Any]:
    if array.dtype == object:
        kind, data = "BYTES", [each.decode("utf-8", "replace") for each in array.ravel().tolist()]
    elif array.dtype in _NAMES:
        kind, data = _NAMES[array.dtype], array.ravel().tolist()
    else:
        raise ServingError("UNIMPLEMENTED", f"output {alias}: the protocol has no type {array.dtype}")
    return {"name": alias, "datatype": kind, "shape": list(array.shape), "data": data}
