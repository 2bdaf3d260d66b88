"""TensorFlow Serving's gRPC services, on the servicers of the package tensorflow-serving-api.

All calls are answered in the event loop; what takes long goes to threads from there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
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
from pipeline.serving.arrays import Array
from pipeline.serving.errors import ServingError, invalid, to_error
from pipeline.serving.metrics import Metrics
from pipeline.serving.models.running import compute
from pipeline.serving.models.saved_model import DEFAULT_SIGNATURE
from pipeline.serving.models.servable import Servable
from pipeline.serving.models.tensors import read_tensor, write_tensor
from pipeline.serving.versions.shelf import Shelf

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

    async def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Compute a signature's outputs for tensors."""
        return await self._answer(
            "Predict", request.model_spec.name, context, self._predict(request, context)
        )

    async def Classify(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Compute classes and scores of examples."""
        response = classification_pb2.ClassificationResponse()
        answer = self._ask_examples(Servable.classify, request, response, context)
        return await self._answer("Classify", request.model_spec.name, context, answer)

    async def Regress(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Compute a value for each example."""
        response = regression_pb2.RegressionResponse()
        answer = self._ask_examples(Servable.regress, request, response, context)
        return await self._answer("Regress", request.model_spec.name, context, answer)

    async def MultiInference(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer several Classify and Regress calls of one model for the same examples."""
        first = request.tasks[0].model_spec if request.tasks else inference_pb2.InferenceTask().model_spec

        async def infer() -> Any:
            response = inference_pb2.MultiInferenceResponse()
            with self._shelf.handle(first) as servable:
                await servable.infer_all(request, response, _timeout_ms(context))
            return response

        return await self._answer("MultiInference", first.name, context, infer())

    async def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return a model's signatures."""

        async def describe() -> Any:
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            _check_spec(request)
            metadata.check_metadata_fields(request.metadata_field)
            with self._shelf.handle(request.model_spec) as servable:
                metadata.fill_metadata(request.metadata_field, servable, response)
            return response

        return await _answer(context, describe())

    async def _predict(self, request: Any, context: Any) -> Any:
        response = predict_pb2.PredictResponse()
        with self._find(request) as servable:
            name = request.model_spec.signature_name
            # Before the tensors are read, since these errors come first.
            servable.check_inputs(name, request.inputs)
            inputs = await compute(request.ByteSize(), self._read_inputs, request.inputs)
            outputs = await servable.predict(name, inputs, request.output_filter, _timeout_ms(context))
            servable.describe(response.model_spec, name or DEFAULT_SIGNATURE)
        size = sum(array.nbytes for array in outputs.values())
        await compute(size, self._write_outputs, outputs, response)
        return response

    def _read_inputs(self, inputs: Any) -> dict[str, Array]:
        return {alias: read_tensor(proto, alias, self._max_tensor_bytes) for alias, proto in inputs.items()}

    def _write_outputs(self, outputs: Mapping[str, Array], response: Any) -> None:
        for alias, array in outputs.items():
            write_tensor(array, response.outputs[alias], self._as_content)

    async def _ask_examples(self, method: Any, request: Any, response: Any, context: Any) -> Any:
        """Fill a response by `Servable.classify` or `Servable.regress`."""
        with self._find(request) as servable:
            name = request.model_spec.signature_name
            await method(servable, name, request.input, response.result, _timeout_ms(context))
            servable.describe(response.model_spec, name or DEFAULT_SIGNATURE)
        return response

    def _find(self, request: Any) -> Any:
        _check_spec(request)
        return self._shelf.handle(request.model_spec)

    async def _answer(self, api: str, model: str, context: Any, answer: Awaitable[Any]) -> Any:
        begin = time.perf_counter()
        code = "CANCELLED"
        try:
            given = await _or_error(answer)
            code = given.code if isinstance(given, ServingError) else "OK"
        finally:
            self._metrics.record_request(model, code)
        if isinstance(given, ServingError):
            await _abort(context, given)
        self._metrics.record_latency(model, api, "GRPC", time.perf_counter() - begin)
        return given


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest.

    Args:
        shelf: The models.
        reload: Replaces the models by those of a ModelServerConfig.
        totals: Returns the sums of counters by their names.
    """

    def __init__(self, shelf: Shelf, reload: Callable[[Any], None], totals: Callable[[], Mapping[str, int]]):
        self._shelf = shelf
        self._reload = reload
        self._totals = totals
        # It waits for new models, and one reload begins when the one before has ended.
        self._reloads = ThreadPoolExecutor(1, thread_name_prefix="reload")

    async def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return the states of a model's versions."""

        async def describe() -> Any:
            _check_spec(request)
            spec = request.model_spec
            version = spec.version.value if spec.WhichOneof("version_choice") == "version" else None
            response = get_model_status_pb2.GetModelStatusResponse()
            metadata.fill_status(self._shelf.states(spec.name, version), response)
            return response

        return await _answer(context, describe())

    async def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Serve the models of another configuration; say how much the wanted counters rose meanwhile."""

        async def reload() -> Any:
            if request.config.WhichOneof("config") != "model_config_list":
                raise invalid(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList "
                    "is currently supported"
                )
            before = self._totals()
            await asyncio.get_running_loop().run_in_executor(self._reloads, self._reload, request.config)
            after = self._totals()
            response = model_management_pb2.ReloadConfigResponse()
            response.status.SetInParent()
            for name in sorted(set(request.metric_names) & set(after)):
                response.metric.add(name=name, int64_value_increase=after[name] - before[name])
            return response

        return await _answer(context, reload())


def _check_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")


async def _answer(context: Any, answer: Awaitable[Any]) -> Any:
    given = await _or_error(answer)
    if isinstance(given, ServingError):
        await _abort(context, given)
    return given


async def _abort(context: Any, error: ServingError) -> NoReturn:
    await context.abort(_STATUS_CODES[error.code], error.grpc_message)
    raise AssertionError("abort raises")


async def _or_error(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except Exception as e:  # noqa: BLE001  # Whatever it is, the client gets an answer.
        return to_error(e)


def _timeout_ms(context: Any) -> int:
    remaining = context.time_remaining()
    # Such a deadline, of weeks, is as good as no deadline.
    if remaining is None or remaining > 1e6:
        return 0
    return max(1, int(remaining * 1000))
