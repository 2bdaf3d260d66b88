"""Reflection and the arguments of the gRPC server."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceServicer
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceServicer

from components.base.errors import UsageError
from pipeline.serving.configuration import read_channel_arguments
from pipeline.serving.grpc_server import _register_services, _Symbols, listen, make_server


class _Models(ModelServiceServicer):
    """Answers with the empty message."""

    async def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        return GetModelStatusResponse()


def test_reflection_knows_services_and_their_methods() -> None:
    _register_services()
    pool = _Symbols()
    service = "tensorflow.serving.PredictionService"
    for symbol in (service, f"{service}.Predict"):
        assert (
            pool.FindFileContainingSymbol(symbol).name == "tensorflow_serving/apis/prediction_service.proto"
        )
    for symbol in (f"{service}.Other", "no.such.Thing"):
        with pytest.raises(KeyError):
            pool.FindFileContainingSymbol(symbol)


def test_channel_arguments_are_numbers_or_texts() -> None:
    assert read_channel_arguments("grpc.max_concurrent_streams=8,grpc.x=y") == [
        ("grpc.max_concurrent_streams", 8),
        ("grpc.x", "y"),
    ]
    # As TensorFlow Serving reads them: what is no whole number of 32 bits is a text.
    for text in ("--5", "\u00b2", "2147483648"):
        assert read_channel_arguments(f"x={text},y=-5,z=+5") == [("x", text), ("y", -5), ("z", 5)]
    with pytest.raises(UsageError, match="expected name=value, got x"):
        read_channel_arguments("x")


def test_what_is_no_message_is_an_internal_error() -> None:
    async def run() -> tuple[grpc.StatusCode, str | None]:
        server = await make_server(PredictionServiceServicer(), _Models(), with_health=False)
        port = listen(server, "127.0.0.1:0", None)
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/tensorflow.serving.ModelService/GetModelStatus")
            assert await call(b"", timeout=10) == b""
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call(b"\xff\xff", timeout=10)
        await server.stop(None)
        return raised.value.code(), raised.value.details()

    assert asyncio.run(run()) == (grpc.StatusCode.INTERNAL, "Exception deserializing request!")


def test_clients_that_watch_the_health_hold_no_threads() -> None:
    async def run() -> list[int]:
        server = await make_server(PredictionServiceServicer(), _Models(), with_health=True)
        port = listen(server, "127.0.0.1:0", None)
        await server.start()
        request = health_pb2.HealthCheckRequest(service="PredictionService")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            # More than asyncio has threads.
            watching = [stub.Watch(request, timeout=20) for _ in range(40)]
            told = [(await each.read()).status for each in watching]
            told.append((await stub.Check(request, timeout=5)).status)
            for each in watching:
                each.cancel()
        await server.stop(None)
        return told

    assert asyncio.run(run()) == [health_pb2.HealthCheckResponse.SERVING] * 41
