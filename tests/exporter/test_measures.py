"""What an export is judged by: the first metric of each task, from answers that you can check by eye."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.base.example import serialize_example
from components.base.task import part
from schemas import features
from tests.make.boxes import make_record


def test_accuracy() -> None:
    truths = [0, 1, 1]
    answers = {"probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])}
    measured = part("classification", "export").measure(answers, None, truths, ("a", "b"))
    assert measured == pytest.approx(2 / 3)


def test_mean_average_precision_of_labels() -> None:
    """The class c is on no image, so it has no say."""
    records = [serialize_example({features.LABEL: labels}) for labels in ([0], [0, 1], [1])]
    answers = {"probabilities": np.array([[0.9, 0.1, 1.0], [0.8, 0.8, 1.0], [0.7, 0.3, 1.0]])}
    module = part("multilabel", "export")
    measure, truths = module.measure, list(map(module.read_truth, records))
    assert measure(answers, None, truths, ("a", "b", "c")) == 1.0
    answers["probabilities"][2, 0] = 1.0  # wrong, and the best: precisions of 1/2 and 2/3
    assert measure(answers, None, truths, ("a", "b", "c")) == pytest.approx((7 / 12 + 1) / 2)
    # Nothing to find, and nothing to warn of.
    assert math.isnan(measure(answers, None, [[], [], []], ("a", "b", "c")))


def test_mean_average_precision_of_boxes_in_padded_pixels() -> None:
    records = [make_record((0.25, 0.5, 0.75, 1.0, "cat")), make_record(seed=1)]
    boxes, scores = np.zeros((2, 100, 4), np.float32), np.zeros((2, 100), np.float32)
    labels = np.zeros((2, 100), np.int64)
    # The image is the rows between a quarter and three quarters of the pixels.
    boxes[0, 0], scores[0, 0], labels[0, 0] = (0.25, 0.5, 0.75, 0.75), 0.9, 1
    answers = {"boxes": boxes, "scores": scores, "class_labels": labels, "counts": np.array([1, 0])}
    module = part("detection", "export")
    measure, truths = module.measure, list(map(module.read_truth, records))
    frames = np.array([[0, 0.25, 1, 0.75]] * 2, np.float32)
    assert measure(answers, frames, truths, ("cat", "dog")) == pytest.approx(1.0)
    # Taken for shares of the image, the box covers half of the object.
    assert measure(answers, None, truths, ("cat", "dog")) == pytest.approx(0.1)


class FakeModel:
    """Answers all images alike."""

    task, class_names, folder = "classification", ("a", "b"), Path("model")

    def __init__(self, of_model: float = 0.75):
        self.of_model = of_model

    def read_pixels(self, records: list[bytes]) -> tuple[Any, None]:
        return np.zeros((len(records), 2, 2, 1), np.uint8), None

    def answer_records(self, records: list[bytes]) -> dict[str, Any]:
        return make_answers(len(records), self.of_model)


def make_answers(count: int, probability: float) -> dict[str, Any]:
    return {"probabilities": np.tile(np.float32([1 - probability, probability]), (count, 1))}


def test_records_are_read_once_and_not_kept() -> None:
    from components.exporter.measure import measure_answers

    alive: list[int] = []
    done: list[int] = []
    most = 0

    class Record(bytes):
        def __del__(self) -> None:
            alive.pop()

    def give() -> Iterator[bytes]:
        nonlocal most
        for label in [0, 1, 1, 1] * 50:
            record = Record(serialize_example({features.LABEL: [label]}))
            alive.append(label)
            most = max(most, len(alive))
            yield record

    asks = {"onnx": lambda pixels: make_answers(len(pixels), 0.25)}
    assert measure_answers(FakeModel(), asks, give(), done.append) == (0.75, {"onnx": 0.25})
    assert done == [32, 64, 96, 128, 160, 192, 200]
    assert most <= 2 * 32 + 1
    metric, metrics = measure_answers(FakeModel(), asks, [])
    assert math.isnan(metric)
    assert math.isnan(metrics["onnx"])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_answer_that_is_no_number_is_refused(value: float) -> None:
    """The largest of NaN is the first class: an accuracy that nothing was learned for."""
    from components.base.errors import NotBlessedError
    from components.exporter.measure import measure_answers

    records = [serialize_example({features.LABEL: [0]})]
    asks = {"tflite": lambda pixels: make_answers(len(pixels), value)}
    with pytest.raises(NotBlessedError, match="tflite: expected finite numbers, got NaN or infinity in prob"):
        measure_answers(FakeModel(), asks, records)
    with pytest.raises(NotBlessedError, match="model: expected finite numbers"):
        measure_answers(FakeModel(math.nan), {}, records)


def test_records_of_other_classes_are_refused(tmp_path: Path) -> None:
    """By the manifest, by the records where there is none, and by their task."""
    from components.base.errors import UsageError
    from components.base.saved_model import describe_answers
    from components.base.tfrecord import frame_record
    from components.ingest.manifest import Manifest, write_manifest
    from pipeline.history.records import find_records

    model = tmp_path / "model"
    (model / "assets.extra").mkdir(parents=True)

    def take(task: str, *class_names: str) -> None:
        for name, content in describe_answers(class_names, task).items():
            (model / name).write_text(content, encoding="utf-8")

    def make_data(name: str, *records: bytes) -> str:
        split = tmp_path / name / "Split-test"
        split.mkdir(parents=True)
        (split / "x.gz").write_bytes(gzip.compress(b"".join(map(frame_record, records))))
        return str(split.parent)

    def make_label(label: int, text: str) -> bytes:
        return serialize_example({features.LABEL: [label], features.LABEL_TEXT: [text.encode()]})

    labels = make_data("labels", make_label(0, "cat"), make_label(1, "größe"))
    boxes = make_data("boxes", make_record(), make_record((0.25, 0.5, 0.75, 1.0, "cat")))
    take("classification", "cat", "größe")
    assert len(find_records(model, labels)["test"]) == 1
    with pytest.raises(UsageError, match=r"--data .*boxes: expected classification .*; got detection; give"):
        find_records(model, boxes)
    take("classification", "größe", "cat")
    with pytest.raises(UsageError, match="in their order, größe, cat; got cat as label 0; give the data of"):
        find_records(model, labels)
    take("multilabel", "cat", "größe")
    assert len(find_records(model, labels)["test"]) == 1
    take("detection", "cat", "dog")
    assert len(find_records(model, boxes)["test"]) == 1
    take("detection", "dog", "cat")
    with pytest.raises(UsageError, match="got cat as label 1"):
        find_records(model, boxes)

    def note(task: str, *class_names: str) -> None:
        told = Manifest(3, "folder", {}, list(class_names), {}, 0, "", 0, [], task=task)
        write_manifest(Path(boxes), told)

    note("detection", "dog", "cat")
    assert len(find_records(model, boxes)["test"]) == 1
    note("detection", "dog", "cat", "cow")
    with pytest.raises(UsageError, match="dog, cat; got detection with dog, cat, cow; give"):
        find_records(model, boxes)
    note("classification", "dog", "cat")
    with pytest.raises(UsageError, match="got classification with dog, cat"):
        find_records(model, boxes)


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
    write_record(run, make_run_record("classification", ["a"], outputs, {}))
    assert find_records(version)["test"] == [f"{examples}/Split-test/x"]
