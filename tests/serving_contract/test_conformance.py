"""The contract, asked of `mirante serve`: one server for each setup."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.servers import free_port
from tests.serving_contract.case import Case, Scenario
from tests.serving_contract.client import Server
from tests.serving_contract.setups import SETUPS, make_flags, write_folder
from tests.serving_contract.table import list_cases

pytestmark = pytest.mark.slow
_START_SECS = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models and configurations of the contract."""
    made = tmp_path_factory.mktemp("contract")
    write_folder(made)
    return made


@pytest.fixture(scope="module")
def servers(folder: Path) -> Iterator[Callable[[str], Server]]:
    """Return `mirante serve` with the flags of a setup; the server of another setup is stopped before."""
    with contextlib.ExitStack() as running:
        started: dict[str, Server] = {}

        def get(setup: str) -> Server:
            if setup not in started:
                running.close()
                started.clear()
                started[setup] = running.enter_context(start_server(setup, folder))
            return started[setup]

        yield get


@contextlib.contextmanager
def start_server(setup: str, folder: Path) -> Iterator[Server]:
    """Run `mirante serve` with the flags of a setup until the end of the block."""
    with start(make_flags(setup, str(folder.resolve())), folder / f"{setup}.log") as (grpc, rest):
        yield Server(grpc, rest, folder, is_secure=setup == "options")


@contextlib.contextmanager
def start(flags: Sequence[str], log: Path) -> Iterator[tuple[str, str]]:
    """Run `mirante serve` while the block runs; yield its gRPC and REST addresses."""
    port, rest_port = free_port(), free_port()
    ports = [f"--port={port}", f"--rest_api_port={rest_port}"]
    command = [sys.executable, "-m", "pipeline.commands", "serve", *ports, *flags]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
    try:
        deadline = time.monotonic() + _START_SECS
        for each in (port, rest_port):
            while not _is_open(each):
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"mirante serve did not start:\n{log.read_text(errors='replace')[-3000:]}")
                time.sleep(0.1)
        yield f"127.0.0.1:{port}", f"127.0.0.1:{rest_port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.mark.parametrize(
    ("setup", "case"),
    [
        pytest.param(setup, case, id=f"{setup}-{type(case).__name__}-{case.name}")
        for setup in SETUPS
        for case in list_cases(setup)
    ],
)
def test_answers_as_the_contract_says(
    servers: Callable[[str], Server], setup: str, case: Case | Scenario
) -> None:
    problem = servers(setup).find_problem(case)
    assert problem is None, problem
