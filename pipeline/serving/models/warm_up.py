"""Sends a model the requests that came along with it, before clients do."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    prediction_log_pb2,
    regression_pb2,
)

from components.base.saved_model import WARM_UP_FILE
from pipeline.serving.errors import ServingError, from_tensorflow, invalid
from pipeline.serving.models.servable import Servable
from pipeline.serving.models.tensors import read_tensor

_MOST_REQUESTS = 1000


def warm_up(servable: Servable, times: int) -> None:
    """Send all requests in the file of a model; without a file, do nothing.

    Args:
        servable: The model.
        times: How often each request is sent.

    Raises:
        ServingError: The file is damaged or too long, or a request fails.
    """
    if times:
        asyncio.run(_send_all(servable, times))


def read_images(folder: str, most: int) -> list[bytes]:
    """Return the images of a SavedModel's first warm-up request for `image_bytes`; empty without one.

    Raises:
        ServingError: The file is damaged.
    """
    for log in _read_logs(folder):
        if "image_bytes" in log.predict_log.request.inputs:
            return list(log.predict_log.request.inputs["image_bytes"].string_val[:most])
    return []


def _read_logs(folder: str) -> Iterator[Any]:
    path = os.path.join(folder, WARM_UP_FILE)
    try:
        if not tf.io.gfile.exists(path):
            return
        for number, record in enumerate(tf.data.TFRecordDataset(path).as_numpy_iterator()):
            if number >= _MOST_REQUESTS:
                raise invalid(f"Number of warmup records exceeds the maximum ({_MOST_REQUESTS}) at {path}")
            yield prediction_log_pb2.PredictionLog.FromString(record)
    except tf.errors.OpError as e:
        raise from_tensorflow(e) from e
    except DecodeError as e:
        raise invalid(f"Failed to parse warmup record from {path}") from e


async def _send_all(servable: Servable, times: int) -> None:
    for log in _read_logs(servable.folder):
        for _ in range(times):
            await _send(servable, log)


async def _send(servable: Servable, log: Any) -> None:
    kind = log.WhichOneof("log_type")
    request: Any = getattr(log, kind).request if kind else None
    if kind == "predict_log":
        inputs = {
            alias: read_tensor(proto, alias, servable.max_tensor_bytes)
            for alias, proto in request.inputs.items()
        }
        await servable.predict(request.model_spec.signature_name, inputs, request.output_filter, 0)
    elif kind == "classify_log":
        result = classification_pb2.ClassificationResult()
        await servable.classify(request.model_spec.signature_name, request.input, result, 0)
    elif kind == "regress_log":
        await servable.regress(
            request.model_spec.signature_name, request.input, regression_pb2.RegressionResult(), 0
        )
    elif kind == "multi_inference_log":
        await servable.infer_all(request, inference_pb2.MultiInferenceResponse(), 0)
    else:
        raise ServingError("UNIMPLEMENTED", f"Unsupported log_type for warmup: {kind}")
