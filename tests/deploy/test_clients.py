"""The clients in deploy/clients, and the page for browsers, against `mirante serve`."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.base.example import serialize_example
from components.base.saved_model import WARM_UP_FILE
from components.trainer.warm_up import write_warm_up
from schemas import features
from tests.browser import CHROMIUM, open_page
from tests.make.graphs import Exported, Tiny
from tests.make.records import CLASS_NAMES
from tests.serving_contract.test_conformance import start

pytest_plugins = ["tests.fixtures"]
pytestmark = pytest.mark.slow

CLIENTS = Path(__file__).resolve().parents[2] / "deploy" / "clients"


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    make_tiny: Callable[[int], Tiny],
    export: Callable[[int], Exported],
) -> Iterator[tuple[str, str, Path]]:
    """The gRPC and REST addresses of a server with the model `tiny`, and an image."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(export(3).folder, folder / "serving" / "1")
    record = serialize_example({features.ENCODED: make_tiny(3).encoded[0]})
    write_warm_up(str(folder / "serving" / "1" / WARM_UP_FILE), ["serving_default"], [record])
    image = folder / "an image \u00e4.png"
    image.write_bytes(make_tiny(3).encoded[0])
    flags = ["--model_name=tiny", f"--model_base_path={folder}/serving", "--ui"]
    with start(flags, folder / "server.log") as (grpc_address, rest_address):
        yield grpc_address, rest_address, image


def test_every_client_gets_the_same_answer(served: tuple[str, str, Path]) -> None:
    grpc_address, rest_address, image = served
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


ROWS = """[...document.querySelectorAll(".row")].map(
    row => [row.children[0].textContent, row.children[2].textContent,
            parseFloat(row.querySelector("i").style.width)])"""
DROP = """const held = new DataTransfer(); held.items.add(new File(["no image"], "a.txt"));
    document.dispatchEvent(new DragEvent("drop", {dataTransfer: held}))"""


@pytest.mark.skipif(CHROMIUM is None, reason="this machine has no Chromium")
def test_the_page_shows_what_the_model_says_of_an_image(
    served: tuple[str, str, Path], tmp_path: Path
) -> None:
    _, rest_address, image = served
    address = f"http://{rest_address}"
    body = {"instances": [{"b64": base64.b64encode(image.read_bytes()).decode()}]}
    request = urllib.request.Request(f"{address}/v1/models/tiny:predict", json.dumps(body).encode())
    with urllib.request.urlopen(request) as answer:
        (said,) = json.load(answer)["predictions"]
    best = sorted(zip(said["probabilities"], said["labels"], strict=True), reverse=True)
    shown = [[label, f"{100 * score:.1f} %", float(f"{100 * score:.1f}")] for score, label in best]
    with open_page(f"{address}/", tmp_path / "browser") as tab:
        assert tab.wait_for("document.querySelector('#model')?.value") == "tiny"
        tab.choose_file("#file", image)
        tab.wait_for("!document.querySelector('#answer').hidden")
        assert tab.evaluate(ROWS) == shown
        assert tab.evaluate("document.querySelector('#note').textContent") == ""
        # A file that neither the model nor the browser reads.
        tab.evaluate(DROP)
        assert "expected a JPEG or PNG" in tab.wait_for("document.querySelector('#note').textContent")
        assert tab.evaluate("document.querySelector('#answer').hidden")
        # The samples are the images of the warm-up requests.
        tab.wait_for("document.querySelector('#samples button img')?.complete")
        tab.evaluate("document.querySelector('#samples button').click()")
        tab.wait_for("!document.querySelector('#answer').hidden")
        assert tab.evaluate(ROWS) == shown
