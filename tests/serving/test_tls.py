"""TLS and mutual TLS of REST and gRPC by SSLConfig files, and gRPC on a UNIX socket."""

import asyncio
import http.client
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceServicer
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceServicer

from components.base.errors import UsageError
from pipeline.serving import grpc_server
from pipeline.serving.configuration import make_tls_context
from pipeline.serving.http_server import HttpServer
from pipeline.serving.rest import Answer
from pipeline.serving.text_config import read_tls

# The calls are made in another thread than the server's.
Ask = Callable[[int], Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that signs itself, so that it is its authority too, with SSLConfig files."""
    made = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost"
    subject = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(made / "key"), "-out", str(made / "cert")]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True)
    key, cert = (
        (made / name).read_text().encode("unicode_escape").decode("ascii") for name in ("key", "cert")
    )
    one_way = f'server_key: "{key}" server_cert: "{cert}" '
    (made / "one_way").write_text(one_way)
    (made / "mutual").write_text(one_way + f'custom_ca: "{cert}" client_verify: true')
    (made / "no_ca").write_text(one_way + "client_verify: true")
    (made / "swapped").write_text(f'server_key: "{cert}" server_cert: "{key}"')
    (made / "bad_ca").write_text(one_way + 'custom_ca: "x"')
    return made


def serve_rest(config: Path, ask: Ask) -> Any:
    async def answer(*_: Any) -> Answer:
        return Answer(200, b"hello")

    async def run() -> Any:
        server = HttpServer([answer], max_body_bytes=9, max_calls=9, client_timeout_secs=9, cors=False)
        port = await server.start("127.0.0.1", 0, make_tls_context(read_tls(str(config))))
        try:
            return await asyncio.to_thread(ask, port)
        finally:
            await server.stop(1)

    return asyncio.run(run())


def serve_grpc(address: str, config: Path | None, ask: Ask) -> Any:
    async def run() -> Any:
        server = await grpc_server.make_server(
            PredictionServiceServicer(), ModelServiceServicer(), with_health=True
        )
        port = grpc_server.listen(server, address, read_tls(str(config)) if config else None)
        await server.start()
        try:
            return await asyncio.to_thread(ask, port)
        finally:
            await server.stop(None)

    return asyncio.run(run())


def ask_rest(folder: Path, with_cert: bool) -> Ask:
    def ask(port: int) -> bytes:
        context = ssl.create_default_context(cafile=str(folder / "cert"))
        if with_cert:
            context.load_cert_chain(folder / "cert", folder / "key")
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
        connection.request("GET", "/")
        return connection.getresponse().read()

    return ask


def ask_health(channel: grpc.Channel) -> int:
    with channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status)


def ask_grpc(folder: Path, with_cert: bool) -> Ask:
    cert, key = (folder / "cert").read_bytes(), (folder / "key").read_bytes()

    def ask(port: int) -> int:
        credentials = (
            grpc.ssl_channel_credentials(cert, key, cert) if with_cert else grpc.ssl_channel_credentials(cert)
        )
        return ask_health(grpc.secure_channel(f"localhost:{port}", credentials))

    return ask


@pytest.mark.parametrize(("config", "with_cert"), [("one_way", False), ("mutual", True)])
def test_a_client_that_may_is_answered(folder: Path, config: str, with_cert: bool) -> None:
    assert serve_rest(folder / config, ask_rest(folder, with_cert)) == b"hello"
    assert serve_grpc("127.0.0.1:0", folder / config, ask_grpc(folder, with_cert)) == 1


def test_a_client_without_a_certificate_is_refused(folder: Path) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        serve_rest(folder / "mutual", ask_rest(folder, with_cert=False))
    with pytest.raises(grpc.RpcError) as raised:
        serve_grpc("127.0.0.1:0", folder / "mutual", ask_grpc(folder, with_cert=False))
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


def test_grpc_on_a_socket(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/é.sock"
    assert serve_grpc(address, None, lambda _: ask_health(grpc.insecure_channel(address))) == 1


def test_files_that_do_not_fit_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="client_verify: expected custom_ca"):
        read_tls(str(folder / "no_ca"))
    with pytest.raises(UsageError, match="the key does not fit the certificate"):
        make_tls_context(read_tls(str(folder / "swapped")))
    with pytest.raises(UsageError, match="custom_ca: expected certificates in PEM"):
        make_tls_context(read_tls(str(folder / "bad_ca")))
    with pytest.raises(UsageError, match="gRPC cannot listen on"):
        serve_grpc("127.0.0.1:0", folder / "swapped", lambda port: port)
