"""Images with several labels from a list to a pushed model, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from components.base.records import record_dataset
from components.base.table import read_table
from components.exporter.formats import tflite
from components.exporter.pixel_model import PixelModel
from components.tasks.multilabel import TASK
from tests.make.commands import mirante
from tests.make.images import encode_image, make_noise

pytestmark = pytest.mark.slow

CLASSES = ["cat", "dog", "fish"]
# Few images and one epoch learn too little for the recipe's bounds: here only the way of the data counts.
SETTINGS = (
    "data.source=csv",
    "data.near_copies=false",
    "data.no_class=none",
    "training.epochs=1",
    "evaluation.thresholds={hamming_loss: 0.99}",
    "evaluation.max_regression={}",
    "evaluation.refuse_trivial=false",
    "export={formats: [tflite], max_drop: 1}",
)


def write_list(here: Path) -> Path:
    """Write images with each set of the three classes, and their list."""
    rows = ["file,labels,split"]
    for split, images in (("train", 32), ("eval", 8), ("test", 8)):
        for at in range(images):
            name = f"{split}-{at}.png"
            (here / name).write_bytes(encode_image(make_noise(len(rows), 24, 24, 1)))
            labels = [one for place, one in enumerate(CLASSES) if at >> place & 1]
            rows.append(f"{name},{'|'.join(labels) or 'none'},{split}")
    (here / "list.csv").write_text("\n".join(rows), encoding="utf-8")
    return here / "list.csv"


def test_a_list_is_learned_pushed_and_asked(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    given, root = write_list(tmp_path / "in"), tmp_path / "root"
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    ended = mirante(
        "run", "digits_multilabel", "--data", str(given), "--root", str(root), "--json", *settings,
        runs_nodes=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout.splitlines()[-1])
    assert set(result["metrics"]) == {*TASK.metrics, *TASK.more_metrics}
    assert result["metrics"]["label_cardinality"] == 1.5
    assert (result["blessed"], result["infra_blessed"]) == (True, True)
    assert set(result["per_class"]["dog"]) == set(TASK.class_metrics)
    pushed = Path(result["pushed_model"])
    rows = read_table((pushed / "assets.extra" / "thresholds.csv").read_text(encoding="utf-8"))
    assert [row["class"] for row in rows] == CLASSES
    # An export has the thresholds inside.
    (exported,) = result["exports"]
    assert exported["metric"] == "mean_average_precision"
    read, ask = PixelModel(pushed).read_pixels, tflite.load(Path(exported["folder"]))
    files = sorted(map(str, (root / "data").glob("test-*")))
    answers = ask(read(list(record_dataset(files).as_numpy_iterator()))[0])
    limit = np.float32([row["threshold"] for row in rows])
    np.testing.assert_array_equal(answers["predicted"], answers["probabilities"] >= limit)
    page = Path(result["report"]).read_text(encoding="utf-8")
    assert "could not be made" not in page
    assert "Classes that occur together" in page
    # What is predicted is what reaches the thresholds.
    asked = mirante("predict", str(pushed), str(root / "sample.png"), "--json", runs_nodes=True)
    assert asked.returncode == 0, asked.stderr
    (answer,) = json.loads(asked.stdout.splitlines()[-1])
    limits = {row["class"]: np.float32(row["threshold"]) for row in rows}
    assert {each["label"] for each in answer["predictions"]} == set(limits)
    for each in answer["predictions"]:
        assert each["predicted"] == (np.float32(each["score"]) >= limits[each["label"]])
