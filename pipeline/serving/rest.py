"""The REST API: what a method, a path and a body are answered with, apart from any HTTP server."""

import asyncio
import contextlib
import dataclasses
import re
import time
import zlib
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, get_model_status_pb2, regression_pb2

from pipeline.serving import metadata
from pipeline.serving.bodies import answers
from pipeline.serving.bodies.examples import read_examples
from pipeline.serving.bodies.fill import Kind
from pipeline.serving.bodies.predict_request import read_predict_request
from pipeline.serving.errors import ServingError, invalid, to_error
from pipeline.serving.metrics import Metrics
from pipeline.serving.models.running import compute, size_as_json
from pipeline.serving.models.saved_model import DEFAULT_SIGNATURE
from pipeline.serving.models.servable import Servable
from pipeline.serving.versions.shelf import Handle, Shelf

JSON = "application/json"
# What a packed body may become; a larger one counts as empty.
_MOST_UNPACKED_BYTES = 100 * 2**20
_MOST_VERSION = 2**63 - 1
_MOST_DIGITS = len(str(_MOST_VERSION))
_MODEL = r"/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_CALL = re.compile(_MODEL + ":(classify|regress|predict)", re.IGNORECASE | re.ASCII)
_STATUS = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:/versions/([0-9]+)|/labels/([^/:]+))?(?:/(metadata))?",
    re.IGNORECASE | re.ASCII,
)
_BELOW = re.compile("/v1/.*", re.IGNORECASE | re.ASCII)


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to a client."""

    status: int
    body: bytes
    content_type: str | None = JSON


@dataclasses.dataclass
class _Target:
    """The model, version and method in a path."""

    model: str = ""
    version: int | None = None
    label: str | None = None
    method: str = ""
    resource: str = ""


class RestApi:
    """Answers calls below /v1/.

    Args:
        shelf: The models.
        metrics: Counts calls.
        timeout_ms: Longest time of a model for a call; 0 for no limit.
    """

    def __init__(self, shelf: Shelf, metrics: Metrics, timeout_ms: int):
        self._shelf = shelf
        self._metrics = metrics
        self._timeout_ms = max(timeout_ms, 0)

    async def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """Answer a call; None for a path that is not below /v1/.

        Args:
            method: HTTP's, such as "POST".
            path: As it was sent, with the query, which is a part of it here.
            headers: Names in lower case.
            body: As it was sent.
        """
        if _BELOW.fullmatch(path) is None:
            return None
        begin = time.perf_counter()
        target = _Target()
        try:
            if method == "OPTIONS":
                return self._answer_options(headers)
            if "gzip" in headers.get("content-encoding", ""):
                body = await asyncio.to_thread(unpack, body)
            answered = await self._answer(method, path, body, target)
        except Exception as caught:  # noqa: BLE001  # Whatever it is, the client gets an answer.
            e = to_error(caught)
            self._metrics.record_request(target.model, e.code)
            return Answer(e.http_status, b"" if e.empty_body else answers.write_error(e.message))
        self._metrics.record_request(target.model, "OK")
        self._metrics.record_latency(target.model, target.method, "REST", time.perf_counter() - begin)
        return Answer(200, answered)

    def _answer_options(self, headers: Mapping[str, str]) -> Answer:
        is_allowed = headers.get("origin", "").startswith(("http://", "https://"))
        self._metrics.record_request("", "OK" if is_allowed else "FAILED_PRECONDITION")
        if is_allowed:
            self._metrics.record_latency("", "", "REST", 0.0)
        return Answer(200 if is_allowed else 400, b"", None)

    async def _answer(self, method: str, path: str, body: bytes, target: _Target) -> bytes:
        pattern = {"POST": _CALL, "GET": _STATUS}.get(method)
        found = pattern.fullmatch(path) if pattern is not None else None
        if found is None:
            raise invalid(f"Malformed request: {method} {path}")
        _read_target(found, method, target)
        if method == "GET":
            return self._describe(target)
        if target.method == "predict":
            return await self._predict(target, body)
        if target.method == "classify":
            return await self._classify(target, body)
        if target.method == "regress":
            return await self._regress(target, body)
        raise invalid(f"Malformed request: {method} {path}")

    def _handle(self, target: _Target) -> Handle:
        return self._shelf.find(target.model, target.version, target.label)

    def _describe(self, target: _Target) -> bytes:
        if not target.model:
            raise invalid("Missing model name in request.")
        if target.resource == "metadata":
            with self._handle(target) as servable:
                return metadata.metadata_json(servable)
        # A label is not looked at here: the answer has all versions, as TensorFlow Serving's has.
        response = get_model_status_pb2.GetModelStatusResponse()
        metadata.fill_status(self._shelf.states(target.model, target.version), response)
        return metadata.status_json(response)

    async def _predict(self, target: _Target, body: bytes) -> bytes:
        # The model is looked up after the body was parsed, and held until the answer is there.
        with contextlib.ExitStack() as stack:
            held: list[Servable] = []

            def inputs_of(signature_name: str) -> dict[str, Kind]:
                held.append(stack.enter_context(self._handle(target)))
                return _kinds(held[0], signature_name)

            signature_name, is_rows, inputs = await compute(len(body), read_predict_request, body, inputs_of)
            outputs = await held[0].predict(signature_name, inputs, (), self._timeout_ms)
        write = answers.write_rows if is_rows else answers.write_columns
        return await compute(size_as_json(outputs), write, outputs)

    async def _classify(self, target: _Target, body: bytes) -> bytes:
        signature_name, given = await compute(len(body), read_examples, body)
        result = classification_pb2.ClassificationResult()
        with self._handle(target) as servable:
            await servable.classify(signature_name, given, result, self._timeout_ms)
        return answers.write_classes(
            [[(each.label.encode(), each.score) for each in row.classes] for row in result.classifications]
        )

    async def _regress(self, target: _Target, body: bytes) -> bytes:
        signature_name, given = await compute(len(body), read_examples, body)
        result = regression_pb2.RegressionResult()
        with self._handle(target) as servable:
            await servable.regress(signature_name, given, result, self._timeout_ms)
        return answers.write_values([each.value for each in result.regressions])


def unpack(body: bytes) -> bytes:
    """Return a gzip body unpacked; empty if it is damaged, too large, or something follows it."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(body, _MOST_UNPACKED_BYTES + 1)
    except zlib.error:
        return b""
    is_whole = unpacker.eof and not unpacker.unused_data
    return content if is_whole and len(content) <= _MOST_UNPACKED_BYTES else b""


def _kinds(servable: Servable, signature_name: str) -> dict[str, Kind]:
    name = signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise invalid(f'Serving signature name: "{name}" not found in signature def')
    inputs = servable.signatures[name].inputs
    return {alias: Kind(_type_name(info.dtype)) for alias, info in inputs.items()}


def _type_name(dtype: int) -> str:
    name = str(tf.dtypes.as_dtype(dtype).name)
    return {"float32": "float", "float64": "double", "float16": "half"}.get(name, name)


def _read_target(found: re.Match[str], method: str, target: _Target) -> None:
    model, version, label, last = found.groups()
    if model is not None:
        target.model = _decode(model)
    if version is not None:
        # Python refuses to read numbers of thousands of digits.
        version = version.lstrip("0") or "0"
        if len(version) > _MOST_DIGITS or int(version) > _MOST_VERSION:
            message = f"Failed to convert version: {version} to numeric."
            raise ServingError("INVALID_ARGUMENT", message, empty_body=True)
        target.version = int(version)
    if label is not None:
        target.label = _decode(label)
    if method == "POST":
        target.method = last
    else:
        target.resource = last or ""


def _decode(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")
