"""Damaged bodies, headers and messages: parts of `benchmarks/serving.py`.

The number of a request says what is in it, so `--first 1234 --requests 1` sends number 1234 again. A request
with a wrong answer is kept in a file.
"""

from __future__ import annotations

import asyncio
import collections
import random
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from benchmarks.served import Server, make_body, serve

_CLIENTS = 32
# A damaged head may let the server wait for a body that never comes; nothing else does.
_PATIENCE_SECS = 0.3
_MOST_SECS = 60
_HEAD = b"""POST /v1/models/default:predict HTTP/1.1\r
Host: localhost:8501\r
User-Agent: curl/8.5.0\r
Accept: */*\r
Content-Type: application/json\r
Content-Encoding: identity\r
Cookie: session=0123456789abcdef\r
Content-Length: %d\r
\r
"""
_HEAD_PARTS = (
    *(
        b"\r\n",
        b"\n",
        b"\0",
        b":",
        b" ",
        b"\t",
        b"%",
        b"/../",
        b"?",
        b"#",
        b"\xff\xfe",
        b"-1",
        b"99999999999999999999",
    ),
    *(
        b"gzip",
        b"chunked",
        b"\r\nTransfer-Encoding: chunked",
        b"\r\nContent-Encoding: gzip",
        b"HTTP/9.9",
        b"GET ",
    ),
    *(b"\r\nExpect: 100-continue", b"\r\nUpgrade: h2c", b"\r\nContent-Length: 5", b"a" * 9000, b"b" * 70_000),
)
_BODY_PARTS = (b"{", b"[", b'"', b"null", b"1e999", b"\\u", bytes([255, 0]))
# What a server may answer: the client is at fault.
_CODES = ("OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED")
_SERVICE = "/tensorflow.serving.PredictionService"


def check_bodies(model: Path, image: bytes, count: int, first: int = 0) -> None:
    """Damaged bodies of JSON: 4xx, or 200 where nothing was hurt, never 5xx."""
    head, whole = _HEAD, make_body(image)

    async def ask(server: Server, drawn: random.Random) -> tuple[str, bytes]:
        body = damage(whole, drawn, _BODY_PARTS)
        return await send(server, head % len(body) + body, _MOST_SECS), body

    numbers = range(first, first + count)
    report("bodies", model, image, numbers, ask, is_right=lambda said: said[0] == "4" or said == "200")


def check_headers(model: Path, image: bytes, count: int, first: int = 0) -> None:
    """Damaged heads of HTTP: 4xx, 501 for a method that there is not, or no answer where more has to come."""
    body = make_body(image)
    head = _HEAD % len(body)

    async def ask(server: Server, drawn: random.Random) -> tuple[str, bytes]:
        content = damage(head, drawn, _HEAD_PARTS) + body
        return await send(server, content, _PATIENCE_SECS), content

    def is_right(said: str) -> bool:
        return said[0] in "24nc" or said in ("501", "505")

    report("headers", model, image, range(first, first + count), ask, is_right)


def check_messages(model: Path, image: bytes, count: int, first: int = 0) -> None:
    """Damaged messages of gRPC, in their bytes and in their fields: never UNKNOWN or UNAVAILABLE."""
    whole = list(make_requests(image))
    channels: dict[int, grpc.aio.Channel] = {}

    async def ask(server: Server, drawn: random.Random) -> tuple[str, bytes]:
        channel = channels.get(server.port)
        if channel is None:
            channel = channels[server.port] = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
        method, message = drawn.choice(whole)
        if drawn.random() < 0.5:
            changed = type(message)()
            changed.CopyFrom(message)
            for _ in range(drawn.randint(1, 4)):
                damage_field(changed, drawn)
            content = changed.SerializeToString(deterministic=True)
        else:
            content = damage(message.SerializeToString(deterministic=True), drawn, _BODY_PARTS)
        try:
            await channel.unary_unary(f"{_SERVICE}/{method}")(content, timeout=_MOST_SECS)
        except grpc.aio.AioRpcError as e:
            # What is no message at all.
            is_unread = e.details() == "Exception deserializing request!"
            return "no message" if is_unread else str(e.code().name), content
        return "OK", content

    numbers = range(first, first + count)
    report("messages", model, image, numbers, ask, is_right=lambda said: said in (*_CODES, "no message"))


def make_requests(image: bytes) -> Iterator[tuple[str, Any]]:
    """Yield the name of a method with a good request for it."""
    predict = predict_pb2.PredictRequest()
    predict.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([image], tf.string))
    predict.output_filter.append("probabilities")
    classify = classification_pb2.ClassificationRequest()
    classify.model_spec.signature_name = "classify"
    regress = regression_pb2.RegressionRequest()
    several = inference_pb2.MultiInferenceRequest()
    several.tasks.add(method_name="tensorflow/serving/classify").model_spec.name = "default"
    several.tasks[0].model_spec.signature_name = "classify"
    for each in (classify, regress, several):
        example = each.input.example_list.examples.add()
        example.features.feature["image/encoded"].bytes_list.value.append(image)
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    for each in (predict, classify, regress, metadata):
        each.model_spec.name = "default"
    yield from (("Predict", predict), ("Predict", predict), ("Classify", classify), ("Regress", regress))
    yield from (("MultiInference", several), ("GetModelMetadata", metadata))


def damage(whole: bytes, drawn: random.Random, parts: tuple[bytes, ...]) -> bytes:
    """Return bytes of which some are changed, removed or put in."""
    changed = bytearray(whole)
    for _ in range(drawn.randint(1, 8)):
        at = drawn.randrange(max(len(changed), 1))
        action = drawn.randrange(3)
        if action == 0 and changed:
            changed[at] = drawn.randrange(256)
        elif action == 1:
            del changed[at : at + drawn.randint(1, 40)]
        else:
            changed[at:at] = drawn.choice(parts)
    return bytes(changed)


def damage_field(message: Message, drawn: random.Random) -> None:
    """Change a field of a message, or of a message in it; maps and lists too."""
    field = drawn.choice(message.DESCRIPTOR.fields)
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        keys = sorted(value)
        inner = field.message_type.fields_by_name["value"].message_type
        key = drawn.choice([*keys, "x", "\N{DESERT}" * 100])
        if keys and drawn.random() < 0.2:
            del value[drawn.choice(keys)]
        elif inner is not None:
            damage_field(value[key], drawn)
        return
    if field.message_type is not None:
        if field.label == field.LABEL_REPEATED:
            value = drawn.choice(value) if value and drawn.random() < 0.8 else value.add()
        if value.DESCRIPTOR.fields:
            damage_field(value, drawn)
        else:
            value.SetInParent()
        return
    number = drawn.choice([0, 1, 2, 7, -1, 2**31 - 1, -(2**31), 2**62, drawn.randrange(1000)])
    if field.cpp_type in (field.CPPTYPE_STRING,):
        texts = ["", "default", "serving_default", "classify", "x" * 2000, "é", "signature_def"]
        text = drawn.choice(texts)
        new: Any = text.encode() if field.type == field.TYPE_BYTES else text
    elif field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        new = drawn.choice([0.0, 1.0, float("nan"), float("inf"), 1e300 if field.cpp_type == 5 else 1e30])
    elif field.cpp_type == field.CPPTYPE_BOOL:
        new = drawn.random() < 0.5
    elif field.cpp_type == field.CPPTYPE_ENUM:
        new = drawn.randrange(140)
    else:
        bits = 32 if field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32) else 64
        is_signed = field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64)
        number %= 2**bits
        new = number - 2**bits if is_signed and number >= 2 ** (bits - 1) else number
    if field.label == field.LABEL_REPEATED:
        value.extend([new] * drawn.choice([1, 1, 1, 3, 100]))
    else:
        setattr(message, field.name, new)


async def send(server: Server, content: bytes, patience_secs: float) -> str:
    """Send bytes over a connection of their own; return the status, `closed` or `no answer`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.rest_port)
    try:
        writer.write(content)
        line = await asyncio.wait_for(reader.readline(), patience_secs)
        if line.startswith(b"HTTP/1.1 100"):
            await reader.readline()
            line = await asyncio.wait_for(reader.readline(), patience_secs)
        return line.split()[1].decode() if line else "closed"
    except asyncio.TimeoutError:
        return "no answer"
    except OSError:
        return "closed"
    finally:
        writer.transport.abort()


def report(
    what: str,
    model: Path,
    image: bytes,
    numbers: range,
    ask: Callable[[Server, random.Random], Awaitable[tuple[str, bytes]]],
    is_right: Callable[[str], bool],
) -> None:
    """Ask from 32 clients at a time; print what was answered, and how the server is afterwards."""
    said: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    kept = Path(tempfile.gettempdir(), "mirante-fuzz")
    with serve(model) as server:
        server.ask(make_body(image))
        before, most = server.memory_mib(), 0.0
        waiting = iter(numbers)

        async def run() -> None:
            nonlocal most
            for number in waiting:
                answer, content = await ask(server, random.Random(f"{what} {number}"))
                said[answer] += 1
                if not is_right(answer):
                    kept.mkdir(exist_ok=True)
                    (kept / f"{what}-{number}").write_bytes(content)
                    wrong.append(f"{answer} to number {number}")
                if not number % 1000:
                    most = max(most, server.memory_mib())

        async def run_all() -> None:
            await asyncio.gather(*(run() for _ in range(_CLIENTS)))

        asyncio.run(run_all())
        is_well = server.process.poll() is None and server.ask(make_body(image))[0] == 200
        shown = f"{', '.join(wrong[:20])}, kept in {kept}" if wrong else "none"
        print(
            f"fuzz, {what}: {said.total()} asked, {dict(said.most_common())}, wrong: {shown}, "
            f"well afterwards: {is_well}, {before:.0f} -> {server.memory_mib():.0f} MiB, "
            f"at most {most:.0f}",
            flush=True,
        )
