"""The HTTP server and Mirante's own URLs, without a model."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.base.limits import PILLOW_MAX_PIXELS
from pipeline.serving.errors import ServingError
from pipeline.serving.extensions import Health, ModelList
from pipeline.serving.http_server import HttpServer
from pipeline.serving.metrics import Metrics
from pipeline.serving.models import servable
from pipeline.serving.models.images import are_png, check_images
from pipeline.serving.models.running import ThreadRunner
from pipeline.serving.open_inference import OpenInference
from pipeline.serving.page import Page
from pipeline.serving.rest import Answer, RestApi, unpack
from pipeline.serving.versions.config import ModelConfig
from pipeline.serving.versions.records import ModelRecords, Record, State
from pipeline.serving.versions.shelf import Shelf

_INFER = "/v2/models/echo/infer"


def tensor(kind: str, data: str) -> bytes:
    """The body of a V2 request with one value."""
    return b'{"inputs": [{"name": "x", "datatype": "%b", "shape": [1], "data": %b}]}' % (
        kind.encode(), data.encode()
    )  # fmt: skip


class Echo:
    """A model that answers with its input."""

    name, version, folder = "echo", 3, "/nowhere"

    def __init__(self) -> None:
        info = SimpleNamespace(dtype=1, tensor_shape=SimpleNamespace(dim=[SimpleNamespace(size=-1)]))
        signature = SimpleNamespace(inputs={"x": info}, outputs={"y": info})
        self.signatures = {"serving_default": signature}

    async def predict(self, name: str, given: Any, wanted: Any, timeout_ms: int) -> Any:
        return {"y": given["x"]}


async def answer_large(method: str, path: str, *_: Any) -> Answer | None:
    """Answer /large with more than connections keep for a client that does not read."""
    return Answer(200, bytes(16 * 2**20)) if path == "/large" else None


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    shelf = Shelf()
    records = ModelRecords(ModelConfig("echo", "/m"))
    records.versions[3] = Record(3, "/m/3", State.AVAILABLE, servable=Echo())  # type: ignore[arg-type]
    shelf.models["echo"] = records
    rest = RestApi(shelf, Metrics(), 1000)
    handlers = [
        ModelList(shelf).answer,
        rest.answer,
        Health(shelf).answer,
        OpenInference(shelf, 0).answer,
        Page(shelf).answer,
        answer_large,
    ]  # fmt: skip
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    server: Any = None

    async def start() -> int:
        nonlocal server
        server = HttpServer(
            handlers,
            max_body_bytes=10_000,
            max_calls=4,
            client_timeout_secs=1.0,
            cors=True,
            uncounted=[*Health.PATHS, *OpenInference.HEALTH_PATHS],
        )
        return await server.start("127.0.0.1", 0, None)

    yield asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    asyncio.run_coroutine_threadsafe(server.stop(1), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)


def ask(
    port: int, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def test_predict_packed_and_plain(port: int) -> None:
    body = b'{"instances": [1.0, 2.5]}'
    for content, headers in ((body, {}), (gzip.compress(body), {"Content_Encoding": "gzip"})):
        status, answered, said = ask(port, "POST", "/v1/models/echo:predict", content, **headers)
        assert (status, json.loads(said)) == (200, {"predictions": [1.0, 2.5]})
        assert answered["Content-Type"] == "application/json"
        assert answered["Access-Control-Allow-Origin"] == "*"


# Made in the test: gzip writes the time, and the processes of pytest need one name for it.
@pytest.mark.parametrize(
    "pack",
    [
        lambda: b"x",
        lambda: gzip.compress(b"{}")[:-4],
        lambda: gzip.compress(bytes(100 * 2**20 + 1), compresslevel=1),
        lambda: gzip.compress(b"{}") + gzip.compress(b"{}"),
    ],
    ids=["not packed", "cut", "larger than allowed", "two of them"],
)
def test_what_cannot_be_unpacked_is_empty(pack: Callable[[], bytes]) -> None:
    packed = pack()
    assert unpack(packed) == b""


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_malformed(port: int, method: str) -> None:
    status, _, said = ask(port, method, "/v1/models/echo?x=1")
    assert (status, json.loads(said)["error"]) == (400, f"Malformed request: {method} /v1/models/echo?x=1")


def test_other_paths_are_not_json(port: int) -> None:
    status, headers, said = ask(port, "GET", "/v1")
    assert (status, headers["Content-Type"]) == (404, "text/html")
    assert b"404 Not Found" in said


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /v1/models/a%zz HTTP/1.1", 400), (b"TRACE /v1/models/echo HTTP/1.1", 501),
        (b"NO / HTTP/1.1", 501),
        (b"GET /v1/models/\xff HTTP/1.1", 400), (b"GET / HTTP/1.1\r\nX\x00: 1", 400), (b"\x16\x03\x01", 501),
        (b"GET /v1/models/echo HTTP/1.1\r\nX: " + b"a" * 70_000, 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1", 400), (b"GET http://example.com/healthz HTTP/1.1", 200),
    ],
)  # fmt: skip
def test_what_is_no_http_is_answered_and_does_not_fill_the_log(
    port: int, caplog: pytest.LogCaptureFixture, sent: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(sent + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        said = client.makefile("rb").read()
    assert said.split(maxsplit=2)[1] == str(status).encode()
    assert status == 200 or b"<HTML>" in said
    assert caplog.text == ""


def test_a_long_body_is_refused_before_it_is_read(port: int) -> None:
    assert ask(port, "POST", "/v1/models/echo:predict", bytes(10_001))[0] == 413
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(
            b"POST /v1/models/echo:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        client.sendall(b"1000\r\n" + bytes(4096) + b"\r\n" + b"2000\r\n" + bytes(8192) + b"\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(("127.0.0.1", port)) as client:
        head = b"POST /v1/models/echo:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.sendall(head + b"2711\r\n" + b" " * 10_001 + b"\r\n0\r\n\r\n")  # whole with its header
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_goes_before_its_body_is_whole_is_no_error(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"POST /v1/models/echo:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        time.sleep(0.1)
    time.sleep(0.1)
    assert ask(port, "GET", "/v1/models/echo")[0] == 200
    assert "Error handling request" not in caplog.text


def test_clients_that_keep_their_connection_are_told_to_close_it_when_the_server_stops() -> None:
    async def run() -> tuple[int, str | None]:
        entered, go = asyncio.Event(), asyncio.Event()

        async def answer(*_: Any) -> Answer:
            entered.set()
            await go.wait()
            return Answer(200, b"{}")

        server = HttpServer([answer], max_body_bytes=9, max_calls=9, client_timeout_secs=9, cors=False)
        port = await server.start("127.0.0.1", 0, None)
        asked = asyncio.ensure_future(asyncio.to_thread(ask, port, "GET", "/"))
        await entered.wait()
        stopping = asyncio.ensure_future(server.stop(9))
        await asyncio.sleep(0)
        go.set()
        status, headers, _ = await asked
        await stopping
        return status, headers["Connection"]

    assert asyncio.run(run()) == (200, "close")


def test_slow_clients_are_disconnected(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /v1/models/echo HTTP/1.1\r\nHost:")
        client.settimeout(5)
        with pytest.raises((ConnectionResetError, AssertionError)):
            assert client.recv(10)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"POST /v1/models/echo:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        assert client.recv(100).startswith(b"HTTP/1.1 408 ")


def test_clients_that_do_not_read_count_until_they_are_disconnected(port: int) -> None:
    with contextlib.ExitStack() as clients:
        for _ in range(4):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.2)
        assert ask(port, "GET", "/v1/models/echo")[0] == 503
        # Who asks whether the server lives has to hear so under load too.
        assert ask(port, "GET", "/healthz")[0] == ask(port, "GET", "/v2/health/ready")[0] == 200
        # The first look is after a second, and the second sees that nothing was taken.
        deadline = time.monotonic() + 10
        while ask(port, "GET", "/v1/models/echo")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert len(ask(port, "GET", "/large")[2]) == 16 * 2**20


def test_a_client_may_ask_before_it_sends(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        head = b"POST /v1/models/echo:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n"
        client.sendall(head + b"Expect: 100-continue\r\n\r\n")
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b'{"instances":[1]}')
        time.sleep(0.1)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_health_and_list(port: int) -> None:
    assert ask(port, "GET", "/healthz")[0] == ask(port, "GET", "/readyz")[0] == 200
    listed = json.loads(ask(port, "GET", "/v1/models")[2])
    assert listed == {"models": [{"name": "echo", "versions": [{"version": "3", "state": "AVAILABLE"}]}]}


def test_the_v2_protocol(port: int) -> None:
    described = json.loads(ask(port, "GET", "/v2/models/echo")[2])
    assert described["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1]}]
    values = {"name": "x", "datatype": "FP32", "shape": [2]}
    request = {"id": "7", "inputs": [{**values, "data": [1.5, 2.0]}]}
    answer = json.loads(ask(port, "POST", "/v2/models/echo/infer", json.dumps(request).encode())[2])
    expected = {"name": "y", "datatype": "FP32", "shape": [2], "data": [1.5, 2.0]}
    assert answer == {"model_name": "echo", "model_version": "3", "id": "7", "outputs": [expected]}
    head = json.dumps({"inputs": [{**values, "parameters": {"binary_data_size": 8}}]}).encode()
    packed = head + np.array([1.5, 2.0], np.float32).tobytes()
    sizes = {"Inference_Header_Content_Length": str(len(head))}
    answer = json.loads(ask(port, "POST", "/v2/models/echo/infer", packed, **sizes)[2])
    assert answer["outputs"] == [expected]


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("INT64", "[9223372036854775807]", 2**63 - 1),
        ("UINT8", "[[255]]", 255),
        ("UINT8", "[" * 32 + "255" + "]" * 32, 255),
        ("BOOL", "[true]", True),
        ("FP64", "[3]", 3.0),
        ("BYTES", '["é"]', "é"),
    ],
)
def test_the_v2_protocol_keeps_values(port: int, kind: str, data: str, expected: object) -> None:
    output = json.loads(ask(port, "POST", _INFER, tensor(kind, data))[2])["outputs"][0]
    assert (output["datatype"], output["data"]) == (kind, [expected])


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v2/models/other/infer", b"{}", 404),
        (_INFER, b"{", 400),
        (_INFER, b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [3], "data": [1]}]}', 400),
        (_INFER, b'{"inputs": [{"name": "x", "datatype": "FP31", "shape": [], "data": 1}]}', 400),
        (_INFER, b'{"inputs": [{"name": "x", "datatype": ["FP32"], "shape": [1], "data": [1]}]}', 400),
        ("/v2/nothing", b"", 404),
        ("/v2/models/echo/versions/" + "9" * 5000 + "/infer", b"{}", 404),
        (_INFER, tensor("INT32", "[1.5]"), 400),
        (_INFER, tensor("FP32", "[" * 33 + "1" + "]" * 33), 400),
        (_INFER, tensor("FP32", "[" * 700 + "1" + "]" * 700), 400),
        (_INFER, tensor("INT32", '["1"]'), 400),
        (_INFER, tensor("INT32", "[true]"), 400),
        (_INFER, tensor("UINT8", "[256]"), 400),
        (_INFER, tensor("INT64", "[9223372036854775808]"), 400),
        (_INFER, tensor("FP32", '["NaN"]'), 400),
        (_INFER, tensor("FP32", "[null]"), 400),
        (_INFER, tensor("BOOL", "[1]"), 400),
        (_INFER, tensor("BYTES", "[1]"), 400),
        (_INFER, tensor("FP32", "[1]") + b"more", 400),
    ],
)  # fmt: skip
def test_the_v2_protocol_refuses(port: int, path: str, body: bytes, status: int) -> None:
    answered, _, said = ask(port, "POST", path, body)
    assert answered == status
    assert json.loads(said)["error"]


def test_the_page(port: int) -> None:
    status, headers, said = ask(port, "GET", "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"<title>Try the model</title>" in said
    assert json.loads(ask(port, "GET", "/ui/models")[2]) == {"models": ["echo"]}
    assert json.loads(ask(port, "GET", "/ui/samples/other")[2]) == {"samples": []}


def test_images_that_pillow_reads_do_not_hold_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    image = io.BytesIO()
    Image.new("L", (8, 8)).save(image, "png")
    inputs = {"image_bytes": np.array([image.getvalue()], dtype=object), "x": np.zeros(2)}
    assert are_png(inputs)
    inputs["other_bytes"] = np.array([image.getvalue(), b"GIF89a"], dtype=object)
    assert not are_png(inputs)
    threads: list[threading.Thread] = []
    monkeypatch.setattr(servable, "check_images", lambda *_: threads.append(threading.current_thread()))
    info = SimpleNamespace(name="x:0")
    signature = SimpleNamespace(inputs=dict.fromkeys(inputs, info), outputs={}, defaults={}, method_name="")
    served = servable.Servable("m", 1, "/m", {"serving_default": signature}, None, None, max_pixels=1)  # type: ignore[arg-type]
    for names in (["image_bytes", "x", "other_bytes"], ["image_bytes", "x"]):
        given = {name: inputs[name] for name in names}
        signature.inputs = dict.fromkeys(names, info)
        with pytest.raises(AttributeError):  # there is no session
            asyncio.run(served.predict("", given, (), 0))
    assert [thread is threading.main_thread() for thread in threads] == [False, True]


def test_a_model_that_takes_too_long_is_a_504() -> None:
    info = SimpleNamespace(name="x:0", dtype=1, tensor_shape=SimpleNamespace(dim=[]))
    signature = SimpleNamespace(inputs={"x": info}, outputs={"y": info}, defaults={}, method_name="")
    ends = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(ends.wait)  # another call has the only thread
        runner: Any = ThreadRunner(SimpleNamespace(), threads)  # type: ignore[arg-type]
        served = servable.Servable("m", 1, "/m", {"serving_default": signature}, runner, Metrics())
        shelf = Shelf()
        records = ModelRecords(ModelConfig("m", "/m"))
        records.versions[1] = Record(1, "/m/1", State.AVAILABLE, servable=served)
        shelf.models["m"] = records
        call = RestApi(shelf, Metrics(), 20).answer(
            "POST", "/v1/models/m:predict", {}, b'{"instances": [1.0]}'
        )
        answer = asyncio.run(call)
        ends.set()
    assert answer is not None
    assert answer.status == 504
    assert json.loads(answer.body) == {"error": "Timed out waiting for notification"}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused(tmp_path: Any) -> None:
    Image.new("1", (2000, 1000)).save(tmp_path / "bomb.png")
    inputs = {"image_bytes": np.array([(tmp_path / "bomb.png").read_bytes(), b"no image"], dtype=object)}
    check_images(inputs, 2_000_000)
    with pytest.raises(ServingError, match="at most 1999999 pixels, got 2000000"):
        check_images(inputs, 1_999_999)
    # Larger than Pillow opens, and than any limit may be.
    Image.new("1", (15_000, 12_000)).save(tmp_path / "bomb.tif", compression="group4")
    inputs = {"image_bytes": np.array([(tmp_path / "bomb.tif").read_bytes()], dtype=object)}
    with pytest.raises(ServingError, match="at most 178956970 pixels, got "):
        check_images(inputs, PILLOW_MAX_PIXELS)
    head = (tmp_path / "bomb.png").read_bytes()[:16]
    huge = head + (60_000).to_bytes(4, "big") * 2
    with pytest.raises(ServingError, match="got 3600000000"):
        check_images({"image_bytes": np.array([huge], dtype=object)}, PILLOW_MAX_PIXELS)
