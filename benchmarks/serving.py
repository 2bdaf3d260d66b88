"""Measures `mirante serve` from other processes: latency, load, batching, version switches, harmful clients.

    make bench-serving MODEL=runs/digits/serving IMAGE=runs/digits/sample.png [BENCH="load --requests 2000"]

`wrk` asks REST, `ghz` gRPC (Debian: apt-get install wrk; go install github.com/bojand/ghz/cmd/ghz@latest).
For batching `h2load` asks gRPC (Debian: apt-get install nghttp2-client): ghz takes as much processor time as
the server. A part whose program is missing says so. The model is one of Mirante's.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.served import Server, find_newest, make_body, serve
from benchmarks.serving_faults import check_fuzz, check_kill, check_large, check_slow, check_switch

_QUANTILES = """
function done(summary, latency, requests)
  print(string.format("p50 %.2f ms, p99 %.2f ms, p999 %.2f ms",
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency:percentile(99.9) / 1000))
end
"""
PARTS = ("latency", "load", "batching", "switch", "fuzz", "slow", "large", "kill")
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
    grpc_run = {"ghz": run_ghz, "h2load": run_h2load}[grpc_client]
    asked = {"REST": ("wrk", run_wrk), "gRPC": (grpc_client, grpc_run)}
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


def run_wrk(server: Server, image: bytes, count: int) -> tuple[float, int, str]:
    """Ask REST; return calls per second, how many were answered, and the times."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"wrk.method = 'POST'\nwrk.body = '{make_body(image).decode()}'\n{_QUANTILES}")
        script.flush()

        def run(secs: int) -> str:
            command = ["wrk", "-t1", "-c32", f"-d{secs}s", "--timeout", "30s", "-s", script.name]
            command.append(f"{server.url}:predict")
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        # wrk counts seconds: a short run says how many make up the number of calls, and some more.
        said = run(1)
        while count > _answered(said):
            said = run(math.ceil(1.2 * count * _secs(said) / max(_answered(said), 1)))
    rate = re.search(r"Requests/sec:\s*([\d.]+)", said)
    assert rate is not None
    shown = re.findall(r"p\d+ .* ms|\d+ requests in|Non-2xx.*|Socket errors.*", said)
    return float(rate[1]), _answered(said), ", ".join(shown)


def _answered(said: str) -> int:
    found = re.search(r"(\d+) requests in", said)
    return int(found[1]) if found else 0


def _secs(said: str) -> float:
    found = re.search(r"requests in ([\d.]+)(m?)s", said)
    return 1.0 if found is None else float(found[1]) * (0.001 if found[2] else 1)


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


def run_h2load(server: Server, image: bytes, count: int) -> tuple[float, int, str]:
    """Ask gRPC; return calls per second, how many were answered, and the times."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "default"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([image], tf.string))
    message = request.SerializeToString()
    with tempfile.NamedTemporaryFile() as body:
        # Not compressed, and its length.
        body.write(b"\0" + len(message).to_bytes(4, "big") + message)
        body.flush()
        command = ["h2load", "-t1", "-c32", "-m1", "-n", str(count), "-d", body.name]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        command.append(f"http://127.0.0.1:{server.port}/tensorflow.serving.PredictionService/Predict")
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate, answered = re.search(r"([\d.]+) req/s", said), re.search(r"(\d+) succeeded", said)
    assert rate is not None
    assert answered is not None
    shown = re.findall(r"requests: .*|time for request: .*", said)
    return float(rate[1]), int(answered[1]), ", ".join(re.sub(r" +", " ", each) for each in shown)


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
    "fuzz": (check_fuzz, 100_000),
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
