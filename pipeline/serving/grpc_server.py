"""The gRPC server: services, reflection and health, on a port and a UNIX socket, with or without TLS."""

import contextlib
import importlib
import inspect
from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from components.base.errors import UsageError
from pipeline.serving.text_config import TlsConfig

_MOST_BYTES = 2**31 - 1
# By their modules.
_SERVICES = {
    "prediction_service_pb2": "tensorflow.serving.PredictionService",
    "model_service_pb2": "tensorflow.serving.ModelService",
}


async def make_server(
    prediction_service: Any,
    model_service: Any,
    *,
    channel_arguments: Sequence[tuple[str, Any]] = (),
    with_health: bool,
) -> grpc.aio.Server:
    """Return a server for the running event loop, which does not listen yet."""
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", _MOST_BYTES),
        ("grpc.max_send_message_length", _MOST_BYTES),
        # A port that another process has taken is an error.
        ("grpc.so_reuseport", 0),
        *channel_arguments,
    ]
    server = grpc.aio.server(interceptors=[_Reading()], options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(prediction_service, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(model_service, server)
    _register_services()
    names = [*_SERVICES.values(), reflection.SERVICE_NAME]
    if with_health:
        # The other servicer would hold a thread for each client that watches.
        servicer = health.aio.HealthServicer()
        for name in ("", "ModelService", "PredictionService"):
            await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        names.append(health.SERVICE_NAME)
    reflection.enable_server_reflection(names, server, pool=_Symbols())
    return server


def listen(server: grpc.aio.Server, address: str, tls: TlsConfig | None) -> int:
    """Add a port, `host:port` or `unix:path`; returns its number.

    Raises:
        UsageError: The address is taken, or the keys cannot be used.
    """
    try:
        if tls is None:
            return int(server.add_insecure_port(address))
        credentials = grpc.ssl_server_credentials(
            [(tls.server_key, tls.server_cert)], tls.custom_ca or None, tls.client_verify
        )
        return int(server.add_secure_port(address, credentials))
    except (RuntimeError, ValueError) as e:
        raise UsageError(f"gRPC cannot listen on {address}: {e}") from e


class _Reading(grpc.aio.ServerInterceptor):
    """Answers INTERNAL to bytes that are no message, as servers do that are not of asyncio."""

    def __init__(self) -> None:
        self._handlers: dict[str, Any] = {}

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Return the handler of a method; None if there is no such method."""
        method = handler_call_details.method
        if method not in self._handlers:
            handler = await continuation(handler_call_details)
            if handler is None or not inspect.iscoroutinefunction(handler.unary_unary):
                return handler
            self._handlers[method] = _read_safely(handler)
        return self._handlers[method]


def _read_safely(handler: Any) -> Any:
    def read(message: bytes) -> Any:
        try:
            return handler.request_deserializer(message)
        except DecodeError:
            return None

    async def answer(request: Any, context: Any) -> Any:
        if request is None:
            await context.abort(grpc.StatusCode.INTERNAL, "Exception deserializing request!")
        return await handler.unary_unary(request, context)

    return grpc.unary_unary_rpc_method_handler(answer, read, handler.response_serializer)


class _Symbols:
    """The pool of all messages and services, which knows a service's methods too: clients ask for them."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802
        """Return the file with a message, a service or a method.

        Raises:
            KeyError: There is no such thing.
        """
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            found = self._pool.FindServiceByName(service)
            if method not in found.methods_by_name:
                raise
            return found.file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


def _register_services() -> None:
    """Have reflection know the services.

    Their modules, of an old compiler, describe the services to protobuf and then set what newer ones of its
    descriptors do not have.
    """
    for name in _SERVICES:
        with contextlib.suppress(AttributeError):
            importlib.import_module(f"tensorflow_serving.apis.{name}")
