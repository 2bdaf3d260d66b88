"""Twenty secrets in every place that the documentation names: none is written anywhere by a run."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from pipeline.storage.metadata_copy import DAMAGED_FILE
from tests.failures import MIRANTE
from tests.make.commands import unwrap

NAMES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_CONNECTION_STRING",
    "DB_PASS",
    "ENCRYPTION_KEY",
    "GITHUB_PAT",
    "HF_TOKEN",
    "MIRANTE_KFP_TOKEN",
    "MIRANTE_METADATA_PASSWORD",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MYSQL_PWD",
    "PGPASSWORD",
    "SENTRY_AUTH",
    "SSH_KEY",
    "WANDB_API_KEY",
    "WANDB_KEY",
)
SECRETS = {name: f"hunter-{number:02}-{'x' * 33}" for number, name in enumerate(NAMES)}
IN_ADDRESSES = {"wandb": "hunter-17-correct", "mlflow": "hunter-18-horse", "query": "hunter-19-battery"}
NETWORK = """
import os, subprocess, sys, keras

def build(config, shape, classes):
    print("as a library prints it", dict(os.environ), flush=True)
    os.write(2, repr(dict(os.environ)).encode())  # as C++ does
    subprocess.run(["env"], check=True)
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(classes)])
"""


@pytest.mark.slow
def test_no_secret_is_written_anywhere_and_a_damaged_store_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(NETWORK)
    environment = {
        **os.environ,
        **SECRETS,
        "PYTHONPATH": str(tmp_path),
        "WANDB_MODE": "online",
        "WANDB_BASE_URL": f"http://me:{IN_ADDRESSES['wandb']}@127.0.0.1:9",
        "MLFLOW_TRACKING_URI": f"http://me:{IN_ADDRESSES['mlflow']}@127.0.0.1:9/x?token={IN_ADDRESSES['query']}",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    command = [
        *(str(MIRANTE), "run", "digits", "--root", "root", "--json"),
        *("--set", "model={name: 'mine:build'}", "--set", "training.epochs=2"),
        *("--set", "evaluation.thresholds={accuracy: 0.3}"),
        *("--set", "training.tracking={wandb: {}, mlflow: {}}"),
    ]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    listed: set[str] = set()
    while process.poll() is None:
        for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            try:
                listed.update(each.cmdline())
            except psutil.Error:
                continue
        time.sleep(1)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert "Weights & Biases fails, the training continues" in unwrap(stderr)
    assert "MLflow fails, the training continues" in unwrap(stderr)
    log = Path(json.loads(stdout.splitlines()[-1])["log"])
    assert b"as a library prints it" in log.read_bytes()

    written = {"stdout": stdout.encode(), "stderr": stderr.encode(), "processes": "\n".join(listed).encode()}
    written |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert any(name.endswith("metadata.sqlite") for name in written)
    for secret in (*SECRETS.values(), *IN_ADDRESSES.values()):
        assert [name for name, content in written.items() if secret.encode() in content] == []

    # The same command, when the metadata store was cut in between.
    with (tmp_path / "root" / "metadata.sqlite").open("r+b") as file:
        file.truncate(20_000)
    again = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert f"the damaged file is {DAMAGED_FILE}" in unwrap(again.stderr)
    nodes = json.loads(again.stdout.splitlines()[-1])["components"]
    assert {node["status"] for node in nodes.values()} == {"cached"}
