"""Version switches under load, and clients that do harm: parts of `benchmarks/serving.py`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from benchmarks.served import Server, find_newest, make_body, serve


def check_switch(model: Path, image: bytes, count: int) -> None:
    """Versions that replace each other under load: no call fails, none is answered by one that is gone."""
    newest = find_newest(model)
    body = make_body(image)
    failed: list[tuple[int, bytes]] = []
    calls, gone = 0, 0
    stale: list[tuple[int, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        shutil.copytree(newest, base / "1")
        with serve(base) as server:
            stop = threading.Event()

            def ask() -> None:
                nonlocal calls
                while not stop.is_set():
                    status, answer = server.ask(body)
                    calls += 1
                    if status != 200:
                        failed.append((status, answer))

            def ask_grpc() -> None:
                """Ask by gRPC, whose answers name the version."""
                nonlocal calls
                request = predict_pb2.PredictRequest()
                request.model_spec.name = "default"
                request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([image], tf.string))
                with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
                    while not stop.is_set():
                        gone_before = gone
                        try:
                            version = stub.Predict(request, timeout=60).model_spec.version.value
                        except grpc.RpcError as e:
                            failed.append((0, str(e).encode()))
                            continue
                        calls += 1
                        if version <= gone_before:
                            stale.append((version, gone_before))

            clients = [threading.Thread(target=each) for each in [ask] * 4 + [ask_grpc] * 4]
            for client in clients:
                client.start()
            for version in range(2, count + 2):
                shutil.copytree(newest, base / f"{version}.tmp")
                os.rename(base / f"{version}.tmp", base / str(version))
                while state_of(server, version) != "AVAILABLE" or state_of(server, version - 1) != "END":
                    time.sleep(0.05)
                gone = version - 1
                shutil.rmtree(base / str(version - 1))
            stop.set()
            for client in clients:
                client.join()
    print(
        f"switch: {count} versions, {calls} calls, {len(failed)} failed {failed[:2]}, "
        f"{len(stale)} answered by a version that was gone {stale[:2]}"
    )


def state_of(server: Server, version: int) -> str:
    with urllib.request.urlopen(server.url) as answer:
        states = json.load(answer)["model_version_status"]
    return next((each["state"] for each in states if each["version"] == str(version)), "")


def check_slow(model: Path, image: bytes, count: int) -> None:
    """Clients that send a byte a second: others are answered, and the slow ones are disconnected."""
    with serve(model, "--client_timeout_secs=3") as server:
        slow = [socket.create_connection(("127.0.0.1", server.rest_port)) for _ in range(count)]
        head = b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
        for number, each in enumerate(slow):
            each.sendall(head + (b"\r\n" if number % 2 else b""))
        gone, begin = 0, time.monotonic()
        answered = [server.ask(make_body(image))[0]]
        while slow and time.monotonic() - begin < 20:
            for each in list(slow):
                each.settimeout(0.01)
                try:
                    each.sendall(b"x")
                    if each.recv(1000) == b"":
                        raise OSError
                except TimeoutError:
                    continue
                except OSError:
                    gone += 1
                    slow.remove(each)
            answered.append(server.ask(make_body(image))[0])
            time.sleep(1)
        is_well = set(answered) == {200}
        print(
            f"slow: {gone} of {count} disconnected in {time.monotonic() - begin:.0f} s, "
            f"others answered: {is_well}"
        )


def check_large(model: Path, image: bytes, mebibytes: int) -> None:
    """A body that is too long, with its length and in chunks: 413, and the memory stays."""
    with serve(model) as server:
        server.ask(make_body(image))
        before = server.memory_mib()
        for is_chunked in (False, True):
            said = send_large(server, mebibytes, is_chunked)
            kind = "chunks" if is_chunked else "length"
            print(f"large: {mebibytes} MiB by {kind}: {said}, {before:.0f} -> {server.memory_mib():.0f} MiB")
        print(f"large: well afterwards: {server.ask(make_body(image))[0] == 200}")


def send_large(server: Server, mebibytes: int, is_chunked: bool) -> str:
    part = b"x" * 2**20
    with socket.create_connection(("127.0.0.1", server.rest_port), 30) as client:
        size = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {mebibytes * 2**20}"
        client.sendall(f"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\n{size}\r\n\r\n".encode())
        with contextlib.suppress(OSError):
            for _ in range(mebibytes):
                client.sendall(b"100000\r\n" + part + b"\r\n" if is_chunked else part)
        with contextlib.suppress(OSError):
            return client.recv(200).split(b"\r\n")[0].decode()
    return "disconnected"


def check_kill(model: Path, image: bytes, _: int) -> None:
    """Kill it and start it again."""
    with serve(model) as server:
        server.process.kill()
        server.process.wait()
    with serve(model) as server:
        print(f"kill: answers {server.ask(make_body(image))[0]} again after {server.start_secs:.1f} s")
