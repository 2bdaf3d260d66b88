"""A detector from records to served boxes: through the Transform graph, the Trainer, and the signatures."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from PIL import Image

from components.base.errors import UsageError
from components.base.saved_model import LABELS_FILE, WARM_UP_FILE
from components.exporter.export import ExportData, export_model
from components.infra_validator.probe import probe
from components.models import build_model
from components.models.config import ModelConfig
from components.prediction.predict import predict
from components.tasks.detection import answers
from components.tasks.detection.coco_eval import Detections
from components.tasks.detection.geometry import encode
from components.tasks.detection.matching import match
from components.tasks.detection.tally import evaluate
from components.tasks.detection.tfma_metric import read_answer
from components.tasks.detection.trainer import Detection
from components.tasks.detection.truth import read_truth
from components.trainer.config import TrainingConfig
from components.trainer.export import save_module
from components.trainer.input.split import SplitInput
from components.trainer.job import Job
from components.trainer.train import run_job
from components.transform.config import TransformConfig
from tests.make import shapes
from tests.make.records import write_split

TRANSFORM = TransformConfig(height_px=96, width_px=96, normalization="minus_one_one")
MODEL = {"name": "ssd_mobilenet_v2", "alpha": 0.35, "detection": {"extra_layers": 2}}
SHAPE = (96, 96, 3)
DOCS = Path(__file__).resolve().parents[2] / "docs" / "export.md"


def records(count: int, first_seed: int = 0) -> list[bytes]:
    return [shapes.make_record(shapes.draw(first_seed + i), f"{i}.png") for i in range(count)]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A few images and their Transform graph; the second has no boxes, the third a difficult one."""
    empty = dataclasses.replace(shapes.draw(1), boxes=np.empty((0, 4), np.float32), labels=np.empty(0, int))
    hard = dataclasses.replace(shapes.draw(2), difficult=(0,))
    first = (shapes.draw(0), empty, hard)
    train = [*(shapes.make_record(drawn, f"{i}.png") for i, drawn in enumerate(first)), *records(5, 3)]
    splits = {"train": train, "eval": records(4, 100)}
    folder = tmp_path_factory.mktemp("detection")
    training = {"epochs": 1, "global_batch_size": 4, "tracking": {"graph": False}}
    made: Job = shapes.make_job(folder, splits, TRANSFORM, MODEL, training, max_boxes=3)
    return made


@pytest.mark.both_stacks
@pytest.mark.slow
@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_boxes_come_through_the_transform_graph(job: Job, cache: Any) -> None:
    task = Detection(shapes.CLASSES, ModelConfig.model_validate(MODEL), SHAPE)
    tft_output = tft.TFTransformOutput(job.transform_output)
    split = SplitInput("train", list(job.train_files), tft_output, task, TrainingConfig(cache=cache))
    images, targets = split.load(tf.range(8))
    assert images.shape == (8, 96, 96, 3)
    assert targets.shape == (8, 3, 5)
    assert split.labels.shape == (8, 3, 5)
    np.testing.assert_array_equal(split.labels, targets)
    # Two shards are read in turn, which is the order of the records.
    for row, seed in ((0, 0), (5, 5)):
        drawn = shapes.draw(seed)
        count = len(drawn.labels)
        np.testing.assert_allclose(targets[row, :count, :4], drawn.boxes, atol=1e-6)
        assert targets[row, :count, 4].numpy().tolist() == drawn.labels.tolist()
        assert not targets[row, count:].numpy().any()
    assert not targets[1].numpy().any()
    assert targets[2, 0, 4] == -shapes.draw(2).labels[0]


def answering(detection: Detection, box: list[float], label: int) -> keras.Model:
    """A network that sees one box wherever it looks, given in shares of what it is shown."""
    truth = tf.constant([[box]]), tf.constant([[label]])
    matches = match(*truth, tf.constant(detection.anchors), detection.config)
    there = matches.labels[0].numpy() == label
    codes = np.where(there[:, None], encode(matches.boxes[0], tf.constant(detection.anchors)), 0.0)
    logits = np.where(np.arange(1, 4) == label, np.where(there, 6.0, -9.0)[:, None], -9.0)
    said = np.concatenate([codes, logits], axis=-1).astype(np.float32)
    pixels = keras.Input(SHAPE)
    layer = keras.layers.Dense(said.size, kernel_initializer="zeros")
    outputs = keras.layers.Reshape(said.shape)(layer(keras.layers.GlobalAveragePooling2D()(pixels)))
    layer.bias.assign(said.ravel())
    return keras.Model(pixels, outputs)


@pytest.mark.slow
def test_boxes_of_a_padded_photo_are_right_to_the_pixel(job: Job, tmp_path: Path) -> None:
    # 200 x 100 px, in a frame of 96 x 96 the rows 24 to 71; the box is the pixels 50 to 149, 20 to 69.
    photo = Image.new("RGB", (200, 100), "gray")
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG")
    box = [0.25, 0.2, 0.75, 0.7]
    shown = shapes.Shapes(buffer.getvalue(), np.array([box], np.float32), np.array([2]))
    square = shapes.draw(3)
    padding = TransformConfig(**{**TRANSFORM.model_dump(), "resize": "pad"})
    both = [shapes.make_record(shown, "photo.jpg"), shapes.make_record(square, "3.png")]
    tft_output = tft.TFTransformOutput(
        shapes.fit_transform(tmp_path, both, padding, shapes.CLASSES, max_boxes=2)
    )
    task = Detection(shapes.CLASSES, ModelConfig.model_validate(MODEL), SHAPE)
    write_split(tmp_path / "train", both, shards=1)
    in_frame = [0.25, 0.25 + 0.2 / 2, 0.75, 0.25 + 0.7 / 2]
    for cache in ("memory", "none"):
        split = SplitInput(
            "train", [str(tmp_path / "train" / "*")], tft_output, task, TrainingConfig(cache=cache)
        )
        _, targets = split.load(tf.range(2))
        np.testing.assert_array_equal(split.labels, targets)
        np.testing.assert_allclose(targets[0, 0], [*in_frame, 2], atol=1e-6)
        np.testing.assert_allclose(targets[1, : len(square.labels), :4], square.boxes, atol=1e-6)

    # What is served counts from the photo again.
    module = task.serving(answering(task, in_frame, 2), tft_output)
    save_module(module, str(tmp_path / "1"))
    (tmp_path / "photo.jpg").write_bytes(shown.encoded)
    # A phone's photo that is stored on its side: boxes are of the upright one, and the graph turns it.
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.jpg", exif=exif)
    for answer in predict(str(tmp_path), [str(tmp_path / name) for name in ("photo.jpg", "lying.jpg")], 0.5):
        assert "converted" not in answer
        (prediction,) = answer["predictions"]
        assert prediction["label"] == "square"
        assert prediction["box"] == pytest.approx([50.0, 20.0, 150.0, 70.0], abs=0.02)
    # And the Evaluator, which asks by the record, finds it right.
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_tf_examples"]
    outputs = {name: value.numpy() for name, value in served(examples=tf.constant(both[:1])).items()}
    judged = evaluate([Detections(**read_truth(both[0]), **read_answer(outputs))], 3)
    assert judged.metrics["map"] == pytest.approx(1.0)


@pytest.mark.slow
def test_a_model_serves_what_the_network_says(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keras.utils.set_random_seed(0)
    # Below the probability that anchors begin with, so that there are boxes.
    config = ModelConfig.model_validate({**MODEL, "detection": {"extra_layers": 2, "min_score": 1e-4}})
    model = build_model(config, SHAPE, 3)
    task = Detection(shapes.CLASSES, config, SHAPE)
    tft_output = tft.TFTransformOutput(job.transform_output)
    save_module(task.serving(model, tft_output), str(tmp_path), records(2))
    assert (tmp_path / WARM_UP_FILE).stat().st_size > 0
    loaded = tf.saved_model.load(str(tmp_path))
    drawn = [shapes.draw(seed) for seed in range(3)]
    by_bytes = loaded.signatures["serving_default"](
        image_bytes=tf.constant([picture.encoded for picture in drawn])
    )
    assert {name: (tuple(value.shape), value.dtype.name) for name, value in by_bytes.items()} == {
        "boxes": ((3, 100, 4), "float32"),
        "scores": ((3, 100), "float32"),
        "class_labels": ((3, 100), "int64"),
        "class_names": ((3, 100), "string"),
        "counts": ((3,), "int64"),
    }
    by_examples = loaded.signatures["serving_tf_examples"](
        examples=tf.constant([shapes.make_record(picture, "any.png") for picture in drawn])
    )
    for name, value in by_bytes.items():
        np.testing.assert_array_equal(value, by_examples[name])
    labels, names = by_bytes["class_labels"].numpy(), by_bytes["class_names"].numpy()
    assert (by_bytes["counts"].numpy() == (labels > 0).sum(axis=1)).all()
    assert {(label, name.decode()) for label, name in zip(labels.ravel(), names.ravel(), strict=True)} <= {
        (0, ""),
        *enumerate(shapes.CLASSES, start=1),
    }
    assert (np.diff(by_bytes["scores"].numpy()) <= 0).all()
    images = loaded.transform(tf.constant([picture.encoded for picture in drawn]))
    direct = task.predict(model(images, training=False))
    np.testing.assert_allclose(by_bytes["boxes"], direct["boxes"], atol=1e-5)
    assert (tmp_path / "assets.extra" / "labels.txt").read_text().split() == list(shapes.CLASSES)
    assert (tmp_path / "assets.extra" / "task.txt").read_text() == "detection\n"
    with tf.io.TFRecordWriter(str(tmp_path / "records")) as writer:
        for record in records(3):
            writer.write(record)
    report = probe(
        str(tmp_path),
        f"{tmp_path}/{LABELS_FILE}",
        f"{tmp_path}/{WARM_UP_FILE}",
        str(tmp_path / "records"),
        answers.__file__,
    )
    assert report["problems"] == []
    assert set(report["request_secs"]) == {"serving_default", "serving_tf_examples"}
    capsys.readouterr()
    check_export(tmp_path, drawn[0].encoded, by_bytes, monkeypatch)
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    # Scores that are nearly equal may have another order.
    assert {words[0] for words in said} <= set(shapes.CLASSES)
    assert len(said) == by_bytes["counts"][0]


def check_export(model: Path, image: bytes, served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Export a model for LiteRT, and run the snippet for boxes in docs/export.md."""
    data = ExportData([], [str(model / "records")])
    (done,) = export_model(model, ["tflite"], model / "exports", data, max_drop=0.01, calibration_images=1)
    assert (done.metric, done.images) == ("map", 3)
    (model / "photo.png").write_bytes(image)
    monkeypatch.chdir(model)
    snippets = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (snippet,) = (each for each in snippets if "boxes" in each)
    names: dict[str, Any] = {}
    exec(compile(snippet, str(DOCS), "exec"), names)
    np.testing.assert_allclose(names["found"]["boxes"][0], served["boxes"][0], atol=1e-4)
    np.testing.assert_array_equal(names["found"]["counts"][0], served["counts"][0])


@pytest.mark.slow
def test_a_classifier_is_refused_for_boxes(job: Job) -> None:
    model = ModelConfig(name="mobilenet_v2").model_dump()
    config = {**job.custom_config, "task": "classification", "model": model}
    other = dataclasses.replace(job, custom_config=config)
    with pytest.raises(UsageError, match="task: classification needs examples with the feature image/class"):
        run_job(other, TrainingConfig(tracking={"graph": False}))
