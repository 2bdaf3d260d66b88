"""The clients in deploy/clients, and the page for browsers, against `mirante serve`."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from components.base.example import serialize_example
from components.base.saved_model import WARM_UP_FILE
from components.tasks.detection.export import OUTPUTS
from components.trainer.warm_up import write_warm_up
from schemas import features
from tests.browser import CHROMIUM, open_page
from tests.make.graphs import Exported, Tiny
from tests.make.records import CLASS_NAMES
from tests.serving_contract.test_conformance import start

pytest_plugins = ["tests.fixtures"]
pytestmark = pytest.mark.slow

# Name, score and box of what a detector finds: xmin, ymin, xmax, ymax as shares of the image.
BOXES = (("K\u00e4tzchen", 0.875, [0.125, 0.25, 0.5, 0.875]), ("dog", 0.5, [0.75, 0.5, 0.875, 0.75]))
CLIENTS = Path(__file__).resolve().parents[2] / "deploy" / "clients"


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    make_tiny: Callable[[int], Tiny],
    export: Callable[[int], Exported],
) -> Iterator[tuple[str, str, Path]]:
    """The gRPC and REST addresses of a server with the models `tiny` and `with_boxes`, and an image."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(export(3).folder, folder / "serving" / "1")
    write_detector(folder / "boxes" / "1")
    record = serialize_example({features.ENCODED: make_tiny(3).encoded[0]})
    write_warm_up(str(folder / "serving" / "1" / WARM_UP_FILE), ["serving_default"], [record])
    image = folder / "an image \u00e4.png"
    image.write_bytes(make_tiny(3).encoded[0])
    models = {"tiny": folder / "serving", "with_boxes": folder / "boxes"}
    configs = [
        f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" }}'
        for name, path in models.items()
    ]
    (folder / "models.config").write_text(f"model_config_list {{ {' '.join(configs)} }}")
    flags = [f"--model_config_file={folder}/models.config", "--ui"]
    with start(flags, folder / "server.log") as (grpc_address, rest_address):
        yield grpc_address, rest_address, image


def write_detector(folder: Path) -> None:
    """Write a model that finds `BOXES` in every image, and two more that are not to be shown."""
    import tensorflow as tf

    names = [*(name for name, _, _ in BOXES), "unsure", "padding"]
    outputs = {
        "boxes": tf.constant([[*(box for _, _, box in BOXES), [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]]),
        "scores": tf.constant([[*(score for _, score, _ in BOXES), 0.29, 0.9]]),
        "class_labels": tf.constant([range(len(names))], tf.int64),
        "class_names": tf.constant([names]),
        "counts": tf.constant([len(names) - 1], tf.int64),
    }
    assert set(OUTPUTS) < set(outputs)
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def detect(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: tf.repeat(value, tf.shape(image_bytes)[0], 0) for name, value in outputs.items()}

    tf.saved_model.save(module, str(folder), signatures=detect)


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


def find_lines(is_drawn: Any) -> list[float]:
    """Return the centres of the runs of drawn pixels in a row or column."""
    places = np.flatnonzero(is_drawn)
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return [float(run.mean()) + 0.5 for run in runs]


@pytest.mark.skipif(CHROMIUM is None, reason="this machine has no Chromium")
@pytest.mark.parametrize("page_width", [390, 1280])
def test_the_page_draws_the_boxes_of_a_detector_where_they_are(
    served: tuple[str, str, Path], tmp_path: Path, page_width: int
) -> None:
    _, rest_address, _ = served
    # Its pixels are on their side, as its EXIF data say: 480 x 240 of them when upright.
    image = Image.new("RGB", (240, 480))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image.save(tmp_path / "photo.jpg", exif=exif)
    with open_page(f"http://{rest_address}/", tmp_path / "browser") as tab:
        metrics = {"width": page_width, "height": 800, "deviceScaleFactor": 1, "mobile": page_width < 500}
        tab.send("Emulation.setDeviceMetricsOverride", **metrics)
        tab.wait_for("document.querySelectorAll('#model option').length == 2")
        tab.evaluate("document.querySelector('#model').value = 'with_boxes'")
        tab.choose_file("#file", tmp_path / "photo.jpg")
        tab.wait_for("!document.querySelector('#answer').hidden")
        assert tab.evaluate(ROWS) == [["K\u00e4tzchen", "87.5 %", 87.5], ["dog", "50.0 %", 50.0]]
        url = tab.evaluate("document.querySelector('#image').toDataURL()")
        width, height = tab.evaluate(
            "(({width, height}) => [width, height])(document.querySelector('#image').getBoundingClientRect())"
        )
        assert tab.evaluate("document.documentElement.scrollWidth") <= page_width
    # Not squeezed; it has a border of a pixel.
    assert (width - 2) / (height - 2) == pytest.approx(2, abs=0.02)
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))
    assert drawn.shape == (240, 480, 3)
    is_drawn = drawn.max(axis=2) > 60
    assert find_lines(is_drawn[150]) == pytest.approx([60, 240, 360, 420], abs=1)
    assert find_lines(is_drawn[:, 230]) == pytest.approx([60, 210], abs=1)
    # The second name begins at the box's upper left corner, and is wider than the box.
    down = np.flatnonzero(is_drawn[:, 418])
    assert (down.min(), down.max()) == pytest.approx((120, 180), abs=2)
