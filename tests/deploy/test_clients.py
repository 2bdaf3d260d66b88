"""The clients in deploy/clients, against `mirante serve`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.make.graphs import Exported, Tiny
from tests.make.records import CLASS_NAMES
from tests.serving_contract.test_conformance import start

pytest_plugins = ["tests.fixtures"]
pytestmark = pytest.mark.slow

CLIENTS = Path(__file__).resolve().parents[2] / "deploy" / "clients"


def test_every_client_gets_the_same_answer(
    tmp_path: Path, make_tiny: Callable[[int], Tiny], export: Callable[[int], Exported]
) -> None:
    shutil.copytree(export(3).folder, tmp_path / "serving" / "1")
    image = tmp_path / "an image \u00e4.png"
    image.write_bytes(make_tiny(3).encoded[0])
    flags = ["--model_name=tiny", f"--model_base_path={tmp_path}/serving"]
    with start(flags, tmp_path / "server.log") as (grpc_address, rest_address):
        rest = [f"http://{rest_address}", "tiny", str(image)]
        answers = {
            name: subprocess.run(command, capture_output=True, text=True, timeout=120)
            for name, command in {
                "REST": [sys.executable, str(CLIENTS / "predict.py"), *rest],
                "gRPC": [sys.executable, str(CLIENTS / "predict_grpc.py"), grpc_address, *rest[1:]],
                "JavaScript": ["node", str(CLIENTS / "predict.mjs"), *rest],
                "curl": [str(CLIENTS / "predict.sh"), *rest],
            }.items()
        }
        refused = subprocess.run(
            [str(CLIENTS / "predict.sh"), rest[0], "other", str(image)], capture_output=True, text=True
        )
    assert {name: done.returncode for name, done in answers.items()} == dict.fromkeys(answers, 0), answers
    lines = answers["REST"].stdout.splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(CLASS_NAMES)
    assert answers["gRPC"].stdout == answers["JavaScript"].stdout == answers["REST"].stdout
    assert '"probabilities"' in answers["curl"].stdout
    assert refused.returncode != 0
    assert "Servable not found for request: Latest(other)" in refused.stdout
