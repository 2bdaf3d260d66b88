"""What an export is judged by: the first metric of each task, from answers that you can check by eye."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from components.base.example import serialize_example
from components.base.task import part
from schemas import features
from tests.make.boxes import make_record


def test_accuracy() -> None:
    records = [serialize_example({features.LABEL: [label]}) for label in (0, 1, 1)]
    answers = {"probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])}
    measured = part("classification", "export").measure(answers, None, records, ("a", "b"))
    assert measured == pytest.approx(2 / 3)


def test_mean_average_precision_of_labels() -> None:
    """The class c is on no image, so it has no say."""
    records = [serialize_example({features.LABEL: labels}) for labels in ([0], [0, 1], [1])]
    answers = {"probabilities": np.array([[0.9, 0.1, 1.0], [0.8, 0.8, 1.0], [0.7, 0.3, 1.0]])}
    measure = part("multilabel", "export").measure
    assert measure(answers, None, records, ("a", "b", "c")) == 1.0
    answers["probabilities"][2, 0] = 1.0  # wrong, and the best: precisions of 1/2 and 2/3
    assert measure(answers, None, records, ("a", "b", "c")) == pytest.approx((7 / 12 + 1) / 2)


def test_mean_average_precision_of_boxes_in_padded_pixels() -> None:
    records = [make_record((0.25, 0.5, 0.75, 1.0, "cat")), make_record(seed=1)]
    boxes, scores = np.zeros((2, 100, 4), np.float32), np.zeros((2, 100), np.float32)
    labels = np.zeros((2, 100), np.int64)
    # The image is the rows between a quarter and three quarters of the pixels.
    boxes[0, 0], scores[0, 0], labels[0, 0] = (0.25, 0.5, 0.75, 0.75), 0.9, 1
    answers = {"boxes": boxes, "scores": scores, "class_labels": labels, "counts": np.array([1, 0])}
    measure = part("detection", "export").measure
    frames = np.array([[0, 0.25, 1, 0.75]] * 2, np.float32)
    assert measure(answers, frames, records, ("cat", "dog")) == pytest.approx(1.0)
    # Taken for shares of the image, the box covers half of the object.
    assert measure(answers, None, records, ("cat", "dog")) == pytest.approx(0.1)


def test_the_records_are_those_of_the_run_that_pushed_the_model(tmp_path: Path) -> None:
    from components.base.errors import UsageError
    from components.base.outcome import Output
    from pipeline.history.records import find_records
    from pipeline.run.record import make_record as make_run_record
    from pipeline.run.record import write_record

    data = tmp_path / "data"
    data.mkdir()
    for name in ("train-00000-of-00001", "test-00000-of-00001", "eval-00000-of-00001", "manifest.json"):
        (data / name).write_bytes(b"")
    found = find_records(tmp_path / "serving" / "1", str(data))
    assert found == {"train": [f"{data}/train-00000-of-00001"], "test": [f"{data}/test-00000-of-00001"]}
    with pytest.raises(UsageError, match="expected a folder of records with the splits train and test"):
        find_records(tmp_path / "serving" / "1", str(tmp_path))

    root = tmp_path / "root"
    version = root / "serving" / "7"
    assert find_records(version) == {"train": [], "test": []}
    examples = root / "ImportExampleGen" / "examples" / "1"
    (examples / "Split-test").mkdir(parents=True)
    (examples / "Split-test" / "x").write_bytes(b"")
    run = root / "runs" / "20260101T000000.000"
    run.mkdir(parents=True)
    version.mkdir(parents=True)
    (run / "recipe.yaml").write_text("name: digits\n")
    (run / "result.json").write_text(json.dumps({"root": str(root), "pushed_model": str(version)}))
    outputs = {"ImportExampleGen": {"examples": Output(str(examples), {})}}
    write_record(run, make_run_record("classification", ["a"], outputs))
    assert find_records(version)["test"] == [f"{examples}/Split-test/x"]
