"""TensorFlow Serving's gRPC services, on the servicers of the package tensorflow-serving-api."""

import logging
import time
from collections.abc import Callable
from typing import Any, NoReturn

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from pipeline.serving import metadata
from pipeline.serving.errors import ServingError, invalid
from pipeline.serving.metrics import Metrics
from pipeline.serving.models.saved_model import DEFAULT_SIGNATURE
from pipeline.serving.models.tensors import read_tensor, write_tensor
from pipeline.serving.versions.shelf import Shelf

_log = logging.getLogger(__name__)
_STATUS_CODES = {code.name: code for code in grpc.StatusCode}


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify, Regress, MultiInference and GetModelMetadata.

    Args:
        shelf: The models.
        metrics: Counts calls.
        max_tensor_bytes: Refuse larger tensors.
        as_content: Answer Predict with `tensor_content`.
    """

    def __init__(self, shelf: Shelf, metrics: Metrics, max_tensor_bytes: int, as_content: bool):
        self._shelf = shelf
        self._metrics = metrics
        self._max_tensor_bytes = max_tensor_bytes
        self._as_content = as_content

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Compute a signature's outputs for tensors."""
        return self._answer(
            "Predict", request.model_spec.name, context, lambda: self._predict(request, context)
        )

    def Classify(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Compute classes and scores of examples."""

        def classify() -> Any:
            response = classification_pb2.ClassificationResponse()
            with self._find(request) as servable:
                name = request.model_spec.signature_name
                servable.classify(name, request.input, response.result, _timeout_ms(context))
                servable.describe(response.model_spec, name or DEFAULT_SIGNATURE)
            return response

        return self._answer("Classify", request.model_spec.name, context, classify)

    def Regress(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Compute a value for each example."""

        def regress() -> Any:
            response = regression_pb2.RegressionResponse()
            with self._find(request) as servable:
                name = request.model_spec.signature_name
                servable.regress(name, request.input, response.result, _timeout_ms(context))
                servable.describe(response.model_spec, name or DEFAULT_SIGNATURE)
            return response

        return self._answer("Regress", request.model_spec.name, context, regress)

    def MultiInference(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer several Classify and Regress calls of one model for the same examples."""
        first = request.tasks[0].model_spec if request.tasks else inference_pb2.InferenceTask().model_spec

        def infer() -> Any:
            response = inference_pb2.MultiInferenceResponse()
            with self._shelf.handle(first) as servable:
                servable.infer_all(request, response, _timeout_ms(context))
            return response

        return self._answer("MultiInference", first.name, context, infer)

    def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return a model's signatures."""

        def describe() -> Any:
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            _check_spec(request)
            metadata.check_metadata_fields(request.metadata_field)
            with self._shelf.handle(request.model_spec) as servable:
                metadata.fill_metadata(request.metadata_field, servable, response)
            return response

        return _answer(context, describe)

    def _predict(self, request: Any, context: Any) -> Any:
        response = predict_pb2.PredictResponse()
        with self._find(request) as servable:
            name = request.model_spec.signature_name
            # Before the tensors are read, since these errors come first.
            servable.check_inputs(name, request.inputs)
            inputs = {
                alias: read_tensor(proto, alias, self._max_tensor_bytes)
                for alias, proto in request.inputs.items()
            }
            outputs = servable.predict(name, inputs, request.output_filter, _timeout_ms(context))
            servable.describe(response.model_spec, name or DEFAULT_SIGNATURE)
        for alias, array in outputs.items():
            write_tensor(array, response.outputs[alias], self._as_content)
        return response

    def _find(self, request: Any) -> Any:
        _check_spec(request)
        return self._shelf.handle(request.model_spec)

    def _answer(self, api: str, model: str, context: Any, compute: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        answer = _compute(compute)
        if isinstance(answer, ServingError):
            self._metrics.record_request(model, answer.code)
            _abort(context, answer)
        self._metrics.record_request(model, "OK")
        self._metrics.record_latency(model, api, "GRPC", time.perf_counter() - begin)
        return answer


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest.

    Args:
        shelf: The models.
        reload: Replaces the models by those of a ModelServerConfig.
    """

    def __init__(self, shelf: Shelf, reload: Callable[[Any], None]):
        self._shelf = shelf
        self._reload = reload

    def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return the states of a model's versions."""

        def describe() -> Any:
            _check_spec(request)
            spec = request.model_spec
            version = spec.version.value if spec.WhichOneof("version_choice") == "version" else None
            response = get_model_status_pb2.GetModelStatusResponse()
            metadata.fill_status(self._shelf.states(spec.name, version), response)
            return response

        return _answer(context, describe)

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Serve the models of another configuration."""

        def reload() -> Any:
            if request.config.WhichOneof("config") != "model_config_list":
                raise invalid(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList "
                    "is currently supported"
                )
            self._reload(request.config)
            response = model_management_pb2.ReloadConfigResponse()
            response.status.SetInParent()
            return response

        return _answer(context, reload)


def _check_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")


def _answer(context: Any, compute: Callable[[], Any]) -> Any:
    answer = _compute(compute)
    if isinstance(answer, ServingError):
        _abort(context, answer)
    return answer


def _abort(context: Any, error: ServingError) -> NoReturn:
    context.abort(_STATUS_CODES[error.code], error.grpc_message)
    raise AssertionError("abort raises")


def _compute(compute: Callable[[], Any]) -> Any:
    try:
        return compute()
    except ServingError as e:
        return e
    except Exception as e:  # noqa: BLE001  # Whatever it is, the client gets an answer.
        _log.exception("a call failed")
        return ServingError("INTERNAL", f"{type(e).__name__}: {e}")


def _timeout_ms(context: Any) -> int:
    remaining = context.time_remaining()
    # Such a deadline, of weeks, is as good as no deadline.
    if remaining is None or remaining > 1e6:
        return 0
    return max(1, int(remaining * 1000))
