"""Sends the cases to a server and compares its answers."""

from __future__ import annotations

import dataclasses
import functools
import http.client
import json
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format, text_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from tests.serving_contract.case import (
    Case,
    Files,
    Grpc,
    Rest,
    Scenario,
    find_difference,
    find_text_difference,
)

_PREDICTION, _MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
# The service, the request and the answer of each method.
_METHODS: Mapping[str, tuple[str, Any, Any]] = {
    "Predict": (_PREDICTION, predict_pb2.PredictRequest, predict_pb2.PredictResponse),
    "Classify": (
        _PREDICTION, classification_pb2.ClassificationRequest, classification_pb2.ClassificationResponse
    ),
    "Regress": (_PREDICTION, regression_pb2.RegressionRequest, regression_pb2.RegressionResponse),
    "MultiInference": (
        _PREDICTION, inference_pb2.MultiInferenceRequest, inference_pb2.MultiInferenceResponse
    ),
    "GetModelMetadata": (
        _PREDICTION,
        get_model_metadata_pb2.GetModelMetadataRequest,
        get_model_metadata_pb2.GetModelMetadataResponse,
    ),
    "GetModelStatus": (
        _MODEL, get_model_status_pb2.GetModelStatusRequest, get_model_status_pb2.GetModelStatusResponse
    ),
    "HandleReloadConfigRequest": (
        _MODEL, model_management_pb2.ReloadConfigRequest, model_management_pb2.ReloadConfigResponse
    ),
}  # fmt: skip
_REST_SECS = 60


class Number(str):
    """A number of a JSON document as it is written."""


def read_json(text: str) -> Any:
    """Read JSON; its numbers stay as they are written."""
    return json.loads(text, parse_float=Number, parse_int=Number, parse_constant=Number)


@dataclasses.dataclass
class Server:
    """A server that was started with the flags of a setup.

    Attributes:
        grpc_address: Host and port, or `unix:` and a path.
        rest_address: Host and port.
        folder: The contract's folder, as this machine sees it.
        is_secure: Whether its gRPC port uses TLS.
    """

    grpc_address: str
    rest_address: str
    folder: Path
    is_secure: bool = False

    @functools.cached_property
    def seen(self) -> str:
        """The contract's folder, as the server sees it."""
        return (self.folder / "seen").read_text(encoding="utf-8")

    def find_problem(self, case: Case | Files | Scenario) -> str | None:
        """Send a case and return what is wrong with the answer; None if nothing is."""
        if isinstance(case, Files):
            self._change_files(case)
            return None
        if isinstance(case, Scenario):
            for step in case.steps:
                if problem := self.find_problem(step):
                    return f"{step.name}: {problem}"
            return None
        deadline = time.monotonic() + case.within_secs
        while True:
            problem = self._ask_rest(case) if isinstance(case, Rest) else self._ask_grpc(case)
            if problem is None or time.monotonic() > deadline:
                return problem
            time.sleep(0.1)

    def _change_files(self, step: Files) -> None:
        models = self.folder / "models"
        if step.copy is not None:
            source, target = step.copy
            # Under a name that is no version first: a server must not see half of it.
            temporary = (models / target).with_name(".incomplete")
            shutil.copytree(self.folder / "kept" / source, temporary)
            temporary.rename(models / target)
        if step.remove is not None:
            shutil.rmtree(models / step.remove)
        if step.write is not None:
            name, text = step.write
            (self.folder / name).write_text(text.replace("{seen}", self.seen), encoding="utf-8")

    def _ask_rest(self, case: Rest) -> str | None:
        body = case.body() if callable(case.body) else case.body
        data = body.encode() if isinstance(body, str) else body
        connection = http.client.HTTPConnection(self.rest_address, timeout=_REST_SECS)
        try:
            connection.request(
                case.method or ("GET" if data is None else "POST"), case.path, data, dict(case.headers)
            )
            response = connection.getresponse()
            text = response.read().decode("utf-8", errors="surrogateescape")
        except (OSError, http.client.HTTPException) as e:
            return f"no answer: {type(e).__name__}: {e}"
        finally:
            connection.close()
        if response.status != case.status:
            return f"status: expected {case.status}, got {response.status}: {text[:600]!r}"
        for header, expected in case.answer_headers.items():
            if not _is_right_header(expected, response.headers.get(header)):
                return f"{header}: expected {expected}, got {response.headers.get(header)}"
        if case.text is not None:
            return find_text_difference("body", case.text, text)
        if case.answer is None and case.contains is None and case.error is None:
            return None
        try:
            got = read_json(text)
        except ValueError as e:
            return f"no JSON: {e}: {text[:600]!r}"
        if case.error is not None:
            if not isinstance(got, dict) or list(got) != ["error"]:
                return f"expected an object with the key error, got {text[:600]!r}"
            return find_text_difference("error", case.error, got["error"])
        return find_difference(
            read_json(case.answer or case.contains or ""), got, is_part=case.answer is None
        )

    @functools.cached_property
    def _channels(self) -> dict[bool, grpc.Channel]:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        certificate = (self.folder / "server.crt").read_bytes()
        secure = grpc.ssl_channel_credentials(certificate)
        return {
            False: grpc.insecure_channel(self.grpc_address, options),
            True: grpc.secure_channel(
                self.grpc_address, secure, [*options, ("grpc.ssl_target_name_override", "localhost")]
            ),
        }

    def _ask_grpc(self, case: Grpc) -> str | None:
        channel = self._channels[self.is_secure and case.is_secure]
        expected: Any
        try:
            if isinstance(case.request, bytes):
                expected = case.answer
                if case.is_stream:
                    stream = channel.stream_stream(case.method)
                    got = next(stream(iter([case.request]), timeout=case.deadline_secs))
                else:
                    got = channel.unary_unary(case.method)(case.request, timeout=case.deadline_secs)
            else:
                service, request_type, answer_type = _METHODS[case.method]
                request = text_format.Parse(case.request.replace("{seen}", self.seen), request_type())
                expected = text_format.Parse(str(case.answer or ""), answer_type())
                call = channel.unary_unary(
                    f"/{service}/{case.method}", request_type.SerializeToString, answer_type.FromString
                )
                got = call(request, timeout=case.deadline_secs)
        except grpc.RpcError as e:
            code, details = e.code().name, e.details() or ""
            if code != case.code:
                return f"code: expected {case.code}, got {code}: {details[:600]}"
            return None if case.details is None else find_text_difference("details", case.details, details)
        if case.code != "OK":
            return f"code: expected {case.code}, got OK: {str(got)[:600]}"
        if case.contains is not None and isinstance(got, bytes):
            return None if case.contains.encode() in got else f"expected {case.contains} in {got!r}"
        if case.contains is not None:
            shown = json_format.MessageToDict(got, preserving_proto_field_name=True)
            return find_difference(json.loads(case.contains), shown, is_part=True)
        if case.answer is not None and expected != got:
            return f"expected {str(expected)[:600]}\ngot {str(got)[:600]}"
        return None


def _is_right_header(expected: str | None, got: str | None) -> bool:
    """Compare a header: None for none, !text for another value, ~pattern for a pattern."""
    if expected is None or got is None:
        return got is None and (expected is None or expected.startswith("!"))
    if expected.startswith("!"):
        return not got.startswith(expected[1:])
    return re.search(expected[1:], got) is not None if expected.startswith("~") else got == expected
