"""Sends a model the requests that came along with it, before clients do."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    prediction_log_pb2,
    regression_pb2,
)

from pipeline.serving.errors import ServingError, from_tensorflow, invalid
from pipeline.serving.models.servable import Servable
from pipeline.serving.models.tensors import read_tensor

FILE = "tf_serving_warmup_requests"
_MOST_REQUESTS = 1000


def warm_up(servable: Servable, assets_extra: str, times: int) -> None:
    """Send all requests in the file of a model; without a file, do nothing.

    Args:
        servable: The model.
        assets_extra: The folder of the file.
        times: How often each request is sent.

    Raises:
        ServingError: The file is damaged or too long, or a request fails.
    """
    path = os.path.join(assets_extra, FILE)
    try:
        if not times or not tf.io.gfile.exists(path):
            return
        for number, record in enumerate(tf.data.TFRecordDataset(path).as_numpy_iterator()):
            if number >= _MOST_REQUESTS:
                raise invalid(f"Number of warmup records exceeds the maximum ({_MOST_REQUESTS}) at {path}")
            for _ in range(times):
                _send(servable, _parse(record, path))
    except tf.errors.OpError as e:
        raise from_tensorflow(e) from e


def _parse(record: bytes, path: str) -> Any:
    try:
        return prediction_log_pb2.PredictionLog.FromString(record)
    except ValueError as e:
        raise invalid(f"Failed to parse warmup record from {path}") from e


def _send(servable: Servable, log: Any) -> None:
    kind = log.WhichOneof("log_type")
    request: Any = getattr(log, kind).request if kind else None
    if kind == "predict_log":
        inputs = {
            alias: read_tensor(proto, alias, servable.max_tensor_bytes)
            for alias, proto in request.inputs.items()
        }
        servable.predict(request.model_spec.signature_name, inputs, request.output_filter, 0)
    elif kind == "classify_log":
        result = classification_pb2.ClassificationResult()
        servable.classify(request.model_spec.signature_name, request.input, result, 0)
    elif kind == "regress_log":
        servable.regress(
            request.model_spec.signature_name, request.input, regression_pb2.RegressionResult(), 0
        )
    elif kind == "multi_inference_log":
        servable.infer_all(request, inference_pb2.MultiInferenceResponse(), 0)
    else:
        raise ServingError("UNIMPLEMENTED", f"Unsupported log_type for warmup: {kind}")
