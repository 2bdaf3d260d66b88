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
import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
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
# Each server is asked this often, in turn, and the median counts.
_ROUNDS = 5


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


@dataclasses.dataclass(frozen=True)
class Load:
    """Answers to calls of 32 clients.

    Attributes:
        secs: From the first call to the last answer.
        times_ms: Of the calls that were answered with 200 or OK.
        others: How often each other answer came.
    """

    secs: float
    times_ms: list[float]
    others: dict[str, int]

    @property
    def per_sec(self) -> float:
        """Good answers per second."""
        return len(self.times_ms) / self.secs

    def __str__(self) -> str:
        times = describe(self.times_ms) if self.times_ms else "no times"
        return f"{len(self.times_ms)} answered, {times}, others: {self.others or 'none'}"


def measure_load(model: Path, image: bytes, count: int) -> None:
    """Ask from 32 clients, a server without batching and one that batches."""
    asked = {"REST": ("h2load", load_rest), "gRPC": ("ghz", run_ghz)}
    with tempfile.TemporaryDirectory() as folder:
        for name, flags in make_flags(Path(folder)).items():
            with serve(model, *flags) as server:
                for protocol, (program, run) in asked.items():
                    if not shutil.which(program):
                        print(f"load: no {program} here, {protocol} is left out")
                        continue
                    # The first calls make threads and queues.
                    run(server, image, 3 * 32)
                    cpu_secs, memory = server.cpu_secs(), server.memory_mib()
                    load = run(server, image, count)
                    cpu_ms = 1000 * (server.cpu_secs() - cpu_secs) / max(len(load.times_ms), 1)
                    print(
                        f"load, {name} batching, {protocol}, 32 clients: {load.per_sec:.0f}/s, {load}, "
                        f"{cpu_ms:.2f} CPU ms/call, {memory:.0f} -> {server.memory_mib():.0f} MiB",
                        flush=True,
                    )


def make_flags(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the flags of a server without batching and with it; writes the parameters into a folder."""
    parameters = folder / "batching.config"
    parameters.write_text(_BATCHING)
    return {"without": (), "with": ("--enable_batching", f"--batching_parameters_file={parameters}")}


def load_rest(server: Server, image: bytes, count: int) -> Load:
    """Ask REST by h2load."""
    return run_h2load(f"{server.url}:predict", make_body(image), count, "--h1")


def run_ghz(server: Server, image: bytes, count: int) -> Load:
    """Ask gRPC by ghz."""
    tensor = {
        "dtype": "DT_STRING",
        "tensor_shape": {"dim": [{"size": 1}]},
        "string_val": [base64.b64encode(image).decode()],
    }
    request = {"model_spec": {"name": "default"}, "inputs": {"image_bytes": tensor}}
    call = "tensorflow.serving.PredictionService/Predict"
    command = ["ghz", "--insecure", "--call", call, "-c", "32", "-n", str(count), "-O", "json"]
    address = f"127.0.0.1:{server.port}"
    ended = subprocess.run(
        [*command, "-d", json.dumps(request), address], capture_output=True, text=True, check=True
    )
    found = json.loads(ended.stdout)
    others = {code: number for code, number in found["statusCodeDistribution"].items() if code != "OK"}
    times = [each["latency"] / 1e6 for each in found["details"] if each["status"] == "OK"]
    return Load(found["total"] / 1e9, times, others)


def load_grpc(server: Server, image: bytes, count: int) -> Load:
    """Ask gRPC by h2load, which takes less of the processor than ghz."""
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


def run_h2load(url: str, body: bytes, count: int, *options: str) -> Load:
    """Send a body from 32 clients."""
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
    if count > len(rows):
        others["no answer"] += count - len(rows)
    return Load(secs, times, dict(others))


def measure_batching(model: Path, image: bytes, count: int) -> None:
    """Ask a server that batches and one that does not in turn, each on a core that the clients leave alone.

    The server is what limits the rate then: with both cores for both, the load generator would take a part of
    them, the same for either server.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or not shutil.which("h2load"):
        print("batching: expected two cores and h2load, left out")
        return
    loads: dict[tuple[str, str], list[Load]] = collections.defaultdict(list)
    cpu_secs: dict[tuple[str, str], float] = collections.defaultdict(float)
    with contextlib.ExitStack() as stack:
        flags = make_flags(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        with run_on(cores[0]):
            servers = {name: stack.enter_context(serve(model, *given)) for name, given in flags.items()}
        with run_on(cores[-1]):
            for server in servers.values():
                load_rest(server, image, 3 * 32)
                load_grpc(server, image, 3 * 32)
            asked = itertools.product(
                range(_ROUNDS), (("REST", load_rest), ("gRPC", load_grpc)), servers.items()
            )
            for _, (protocol, run), (name, server) in asked:
                before = server.cpu_secs()
                loads[protocol, name].append(run(server, image, count // _ROUNDS))
                cpu_secs[protocol, name] += server.cpu_secs() - before
    for protocol in ("REST", "gRPC"):
        rates = {}
        for name in servers:
            rounds = loads[protocol, name]
            rates[name] = statistics.median(each.per_sec for each in rounds)
            times = [each for load in rounds for each in load.times_ms]
            others = sum((collections.Counter(each.others) for each in rounds), collections.Counter())
            print(
                f"{protocol}, {name} batching: {rates[name]:.0f}/s (median of {_ROUNDS}), "
                f"{len(times) / cpu_secs[protocol, name]:.0f} per CPU second, {Load(1, times, others)}"
            )
        print(f"batching, {protocol}: {rates['with'] / rates['without']:.2f} times as many calls per second")


@contextlib.contextmanager
def run_on(core: int) -> Iterator[None]:
    """Keep this process, and the processes that it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


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
_FUZZED = ("bodies", "headers", "messages")


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path, help="folder of a pushed model's versions")
    parser.add_argument("image", type=Path, help="an image for it")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all of them when not given")
    parser.add_argument("--requests", type=int, help="instead of each part's own number")
    parser.add_argument("--first", type=int, default=0, help="number of the first damaged request")
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for part in given.parts or PARTS:
        run, count = _RUNS[part]
        first = {"first": given.first} if part in _FUZZED else {}
        run(given.model.resolve(), given.image.read_bytes(), given.requests or count, **first)


if __name__ == "__main__":
    main()
