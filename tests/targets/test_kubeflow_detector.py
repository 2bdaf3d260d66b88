"""A detector's compiled package, run as in test_kubeflow_run; in its own file, so that both run at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("kfp", reason="kfp is not on Python 3.10")

from components.prediction.predict import predict
from pipeline.recipe.load import load_recipe
from pipeline.steps import node_ids
from tests.make import shapes
from tests.make.packages import compile_package
from tests.pages.test_views import text_of
from tests.targets.test_kubeflow_run import metrics, read_pages, run
from tests.targets.test_task import OUTCOMES

pytestmark = [pytest.mark.long, pytest.mark.slow]


# A detector of coloured shapes, from raw images within two minutes; few tasks, since each has to start.
SHAPES = (
    "model.weights=null",
    "model.alpha=0.35",
    "model.detection={extra_layers: 2}",
    "transform.height_px=96",
    "transform.width_px=96",
    "training.epochs=12",
    "training.warmup_epochs=1",
    "training.fine_tune_epochs=0",
    "training.global_batch_size=16",
    "training.learning_rate=0.004",
    "training.augmentation={flip: horizontal}",
    "training.tracking.graph=false",
    "evaluation.thresholds={map_50: 0.75}",
)


def test_a_detector_from_raw_images_to_its_pages(tmp_path: Path) -> None:
    photos, root = tmp_path / "photos", tmp_path / "root"
    for split, count, first_seed in (("train", 320, 0), ("val", 24, 10_000), ("test", 64, 20_000)):
        shapes.write_voc(photos / split, count, first_seed)
    path = compile_package(load_recipe("voc", SHAPES, elsewhere=True), tmp_path / "shapes.yaml")
    code, log = run(path, tmp_path, "out", pipeline_root=str(root), data_root=str(photos))
    assert code == 0, log[-5000:]
    assert dict(OUTCOMES.findall(log)) == dict.fromkeys(node_ids(), "completed")
    for part in ("class loss", "box loss", "eval loss", "eval mAP@.5"):
        assert log.count(f"{part} ") >= 12
    found = metrics(tmp_path / "out")
    assert found["map_50"] >= 0.75
    assert 0.25 < found["map"] <= found["map_50"]

    (pushed,) = (root / "serving").glob("[0-9]*")
    near = 0
    for answer in predict(str(pushed), [str(photos / "test" / f"{number}.png") for number in range(10)]):
        drawn = shapes.draw(20_000 + int(Path(answer["image"]).stem))
        best = answer["predictions"][0]
        of_class = [
            box
            for box, label in zip(drawn.boxes * 96, drawn.labels, strict=True)
            if shapes.CLASSES[label - 1] == best["label"]
        ]
        # Pixels, of shapes of 24 to 52.
        near += any(abs(box - best["box"]).max() < 10 for box in of_class)
    assert near >= 7

    pages = read_pages(tmp_path / "out")
    assert set(pages) == {"Ingest", *node_ids()}
    words = {name: text_of(page) for name, page in pages.items()}
    for name, page in pages.items():
        assert "<html" in page
        assert "could not be made" not in words[name]
    for name in ("Ingest", "ImportExampleGen"):
        assert pages[name].count('<img class="boxed"') == 3 * 8
    assert "320 train examples 24 eval examples 64 test examples" in words["ImportExampleGen"]
    assert "in the order of their labels, from 1: circle, square, triangle" in words["ImportSchemaGen"]
    assert "Boxes by split and class" in words["StatisticsGen"]
    assert "Images by their number of boxes boxes train eval test 1" in words["DataGate"]
    assert pages["DataGate"].count("<img") == 1
    assert "Curves: training Loss" in words["Trainer"]
    assert "Loss of boxes train eval" in words["Trainer"]
    assert "Accuracy" not in words["Trainer"]
    interval = r" 0.\d{4} to \d.\d{4}"
    assert re.search(f"map_50 {found['map_50']:.4f}{interval} at least 0.75", words["Evaluator"])
    assert "circle" in words["Evaluator"]
    assert "badly placed" in words["Evaluator"]
    assert pages["Evaluator"].count("<img") >= 6  # chosen images
