"""A `mirante serve` in a process of its own, for benchmarks."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.servers import free_port


class Server:
    """A `mirante serve` of its own for each part."""

    def __init__(self, model: Path, *flags: str):
        self.port, self.rest_port = free_port(), free_port()
        command = [sys.executable, "-m", "pipeline.commands", "serve", f"--model_base_path={model}"]
        ports = [f"--port={self.port}", f"--rest_api_port={self.rest_port}"]
        self.process = subprocess.Popen([*command, *ports, *flags], stderr=subprocess.DEVNULL)
        begin = time.monotonic()
        while not self.is_up():
            if self.process.poll() is not None or time.monotonic() - begin > 300:
                sys.exit("mirante serve did not start")
            time.sleep(0.1)
        self.start_secs = time.monotonic() - begin

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rest_port}/v1/models/default"

    def is_up(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.rest_port), 1):
            return True
        return False

    def ask(self, body: bytes, timeout: float = 60) -> tuple[int, bytes]:
        request = urllib.request.Request(f"{self.url}:predict", data=body)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()

    def memory_mib(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 2**20

    def cpu_secs(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


@contextlib.contextmanager
def serve(model: Path, *flags: str) -> Iterator[Server]:
    server = Server(model, *flags)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def make_body(image: bytes) -> bytes:
    return json.dumps({"instances": [{"b64": base64.b64encode(image).decode()}]}).encode()


def find_newest(model: Path) -> Path:
    return max((each for each in model.iterdir() if each.name.isdigit()), key=lambda each: int(each.name))
