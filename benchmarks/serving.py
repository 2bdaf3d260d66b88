"""Measures `mirante serve` from other processes: latency, load, batching, version switches, harmful clients.

    make bench-serving MODEL=runs/digits/serving IMAGE=runs/digits/sample.png [BENCH="load --requests 2000"]

`h2load` asks REST, `ghz` gRPC (Debian: apt-get install nghttp2-client; go install
github.com/bojand/ghz/cmd/ghz@latest). For batching h2load asks gRPC too: ghz takes as much processor time as
the server. A part whose program is missing says so. The model is one of Mirante's.
"""

from __future__ import annotations

import argparse
import base64
import collections
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.served import Server, find_newest, make_body, serve
from benchmarks.serving_faults import check_kill, check_large, check_slow, check_switch
from benchmarks.serving_fuzz import check_bodies, check_headers, check_messages

PARTS = ("latency", "load", "batching", "switch", "bodies", "headers", "messages", "slow", "large", "kill")
# Two batches of the 32 clients' requests: one runs while the other fills.
_BATCHING = (
    "max_batch_size { value: 16 }\nbatch_timeout_micros { value: 10000 }\n"
    "max_enqueued_batches { value: 1000 }\n"
)


def measure_latency(model: Path, image: bytes, count: int) -> None:
    """One client, and the same model in this process."""
    import http.client

    import tensorflow as tf

    newest = find_newest(model)
    signature = tf.saved_model.load(str(newest)).signatures["serving_default"]
    images = tf.constant([image])
    body = make_body(image)
    times: dict[str, list[float]] = {"in process": [], "REST": []}
    with serve(model) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.rest_port)

        def ask() -> None:
            connection.request("POST", "/v1/models/default:predict", body)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200

        # By turns, so that other work on the machine meets both.
        for number in range(count + 20):
            for name, call in (("in process", lambda: signature(image_bytes=images)), ("REST", ask)):
                begin = time.perf_counter()
                call()
                if number >= 20:
                    times[name].append(1000 * (time.perf_counter() - begin))
    for name, values in times.items():
        values.sort()
        print(f"latency, one client, {name}: {describe(values)}")
    added = times["REST"][count // 2] - times["in process"][count // 2]
    print(f"latency, one client: REST adds {added:.2f} ms at p50")


def describe(values: list[float]) -> str:
    values = sorted(values)
    shares = (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))
    return ", ".join(
        f"{name} {values[min(len(values) - 1, int(share * len(values)))]:.2f} ms" for name, share in shares
    )


def measure_load(
    model: Path, image: bytes, count: int, *flags: str, what: str = "load", grpc_client: str = "ghz"
) -> dict[str, float]:
    """Ask from 32 clients; return calls per second, and CPU milliseconds of the server per call."""
    measured: dict[str, float] = {}
    grpc_run = {"ghz": run_ghz, "h2load": load_grpc}[grpc_client]
    asked = {"REST": ("h2load", load_rest), "gRPC": (grpc_client, grpc_run)}
    with serve(model, *flags) as server:
        for protocol, (program, run) in asked.items():
            if not shutil.which(program):
                print(f"{what}: no {program} here, {protocol} is left out")
                continue
            # The first calls make threads and queues.
            run(server, image, 3 * 32)
            before = server.cpu_secs()
            rate, answered, shown = run(server, image, count)
            cpu_ms = 1000 * (server.cpu_secs() - before) / max(answered, 1)
            measured |= {f"{protocol} calls/s": rate, f"{protocol} calls per CPU second": 1000 / cpu_ms}
            print(
                f"{what}, {protocol}, 32 clients: {rate:.0f}/s, {cpu_ms:.2f} CPU ms/call, {shown}", flush=True
            )
    return measured


def load_rest(server: Server, image: bytes, count: int) -> tuple[float, int, str]:
    """Ask REST; return calls per second, how many were answered, and the times."""
    return run_h2load(f"{server.url}:predict", make_body(image), count, "--h1")


def run_ghz(server: Server, image: bytes, count: int) -> tuple[float, int, str]:
    """Ask gRPC; return calls per second, how many were answered, and the times."""
    tensor = {
        "dtype": "DT_STRING",
        "tensor_shape": {"dim": [{"size": 1}]},
        "string_val": [base64.b64encode(image).decode()],
    }
    request = {"model_spec": {"name": "default"}, "inputs": {"image_bytes": tensor}}
    call = "tensorflow.serving.PredictionService/Predict"
    command = ["ghz", "--insecure", "--call", call, "-c", "32", "-n", str(count), "-O", "json"]
    address = f"127.0.0.1:{server.port}"
    ended = subprocess.run([*command, "-d", json.dumps(request), address], capture_output=True, text=True)
    if ended.returncode:
        return 0.0, 0, ended.stderr[-300:]
    found = json.loads(ended.stdout)
    times = describe([each["latency"] / 1e6 for each in found["details"]])
    return float(found["rps"]), int(found["count"]), f"{times}, {found['statusCodeDistribution']}"


def load_grpc(server: Server, image: bytes, count: int) -> tuple[float, int, str]:
    """Ask gRPC; return calls per second, how many were answered, and the times."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "default"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([image], tf.string))
    message = request.SerializeToString()
    # Not compressed, and its length.
    body = b"\0" + len(message).to_bytes(4, "big") + message
    url = f"http://127.0.0.1:{server.port}/tensorflow.serving.PredictionService/Predict"
    return run_h2load(url, body, count, "-H", "content-type: application/grpc", "-H", "te: trailers")


def run_h2load(url: str, body: bytes, count: int, *options: str) -> tuple[float, int, str]:
    """Send a body from 32 clients; return calls per second, how many got 200, and the times."""
    with tempfile.TemporaryDirectory() as folder:
        sent, log = Path(folder, "body"), Path(folder, "log")
        sent.write_bytes(body)
        command = ["h2load", "-t1", "-c32", "-m1", "-n", str(count), "-d", str(sent), f"--log-file={log}"]
        begin = time.monotonic()
        subprocess.run([*command, *options, url], capture_output=True, check=True)
        secs = time.monotonic() - begin
        # When a call began, its status, and how long it took (us).
        rows = [line.split("\t") for line in log.read_text().splitlines()]
    times = [int(row[2]) / 1000 for row in rows if row[1] == "200"]
    others = collections.Counter(row[1] for row in rows if row[1] != "200")
    shown = f"{len(times)} of {count} answered, {describe(times) if times else ''}"
    return len(times) / secs, len(times), f"{shown}{f', others: {dict(others)}' if others else ''}"


def measure_batching(model: Path, image: bytes, count: int) -> None:
    """The same load with batching and without."""
    with tempfile.TemporaryDirectory() as folder:
        parameters = Path(folder) / "batching.config"
        parameters.write_text(_BATCHING)
        plain = measure_load(model, image, count, what="without batching", grpc_client="h2load")
        flags = ("--enable_batching", f"--batching_parameters_file={parameters}")
        batched = measure_load(model, image, count, *flags, what="with batching", grpc_client="h2load")
    for name, value in plain.items():
        print(f"batching: {batched[name] / max(value, 1e-9):.2f} times as many {name}")


_RUNS: dict[str, tuple[Any, int]] = {
    "latency": (measure_latency, 500),
    "load": (measure_load, 100_000),
    "batching": (measure_batching, 10_000),
    "switch": (check_switch, 50),
    "bodies": (check_bodies, 100_000),
    "headers": (check_headers, 100_000),
    "messages": (check_messages, 100_000),
    "slow": (check_slow, 50),
    "large": (check_large, 1024),
    "kill": (check_kill, 1),
}


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path, help="folder of a pushed model's versions")
    parser.add_argument("image", type=Path, help="an image for it")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all of them when not given")
    parser.add_argument("--requests", type=int, help="instead of each part's own number")
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for part in given.parts or PARTS:
        run, count = _RUNS[part]
        run(given.model.resolve(), given.image.read_bytes(), given.requests or count)


if __name__ == "__main__":
    main()
