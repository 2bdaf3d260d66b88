"""A detector from records to served boxes: through the Transform graph, the Trainer, and the signatures."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from components.config import ModelConfig, TrainingConfig, TransformConfig
from components.detection.task import Detection
from components.errors import UsageError
from components.infra_probe import probe
from components.models import build_model
from components.trainer.checkpoints import Checkpoints
from components.trainer.export import save_module
from components.trainer.input import SplitInput
from components.trainer.job import Job, run_job
from tests import shapes

TRANSFORM = TransformConfig(height_px=96, width_px=96, normalization="minus_one_one")
MODEL = {"name": "ssd_mobilenet_v2", "alpha": 0.35, "detection": {"extra_layers": 2}}
SHAPE = (96, 96, 3)


def records(count: int, first_seed: int = 0) -> list[bytes]:
    return [shapes.record(shapes.draw(first_seed + i), f"{i}.png") for i in range(count)]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A few pictures and their Transform graph; the second one has no boxes."""
    empty = dataclasses.replace(shapes.draw(1), boxes=np.empty((0, 4), np.float32), labels=np.empty(0, int))
    train = [shapes.record(shapes.draw(0), "0.png"), shapes.record(empty, "1.png"), *records(6, 2)]
    splits = {"train": train, "eval": records(4, 100)}
    folder = tmp_path_factory.mktemp("detection")
    training = {"epochs": 1, "global_batch_size": 4, "tracking": {"graph": False}}
    made: Job = shapes.make_job(folder, splits, TRANSFORM, MODEL, training, max_boxes=3)
    return made


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_boxes_come_through_the_transform_graph(job: Job, cache: Any) -> None:
    task = Detection(shapes.CLASSES, ModelConfig.model_validate(MODEL), SHAPE)
    tft_output = tft.TFTransformOutput(job.transform_output)
    split = SplitInput("train", list(job.train_files), tft_output, task, cache)
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


def test_a_model_serves_what_the_network_says(job: Job, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = build_model(ModelConfig.model_validate(MODEL), SHAPE, 3)
    task = Detection(shapes.CLASSES, ModelConfig.model_validate(MODEL), SHAPE)
    tft_output = tft.TFTransformOutput(job.transform_output)
    save_module(task.serving(model, tft_output), str(tmp_path))
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
        examples=tf.constant([shapes.record(picture, "any.png") for picture in drawn])
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
    report = probe(str(tmp_path), str(tmp_path / "records"))
    assert report["problems"] == []
    assert set(report["request_secs"]) == {"serving_default", "serving_tf_examples"}


def test_a_classifier_is_refused_for_boxes(job: Job) -> None:
    model = ModelConfig(name="mobilenet_v2").model_dump()
    other = dataclasses.replace(job, custom_config={**job.custom_config, "model": model})
    with pytest.raises(UsageError, match="mobilenet_v2 is for classification, and the examples' schema"):
        run_job(other, TrainingConfig(tracking={"graph": False}))


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_as_an_undisturbed_one(job: Job, tmp_path: Path) -> None:
    training = TrainingConfig.model_validate(
        {"epochs": 2, "global_batch_size": 4, "tracking": {"graph": False}, "checkpoints": {"min_secs": 0}}
    )
    results = []
    for name, stops in (("undisturbed", False), ("killed", True)):
        folder = tmp_path / name
        custom = {**job.custom_config, "training": training.model_dump(), "checkpoints": str(folder)}
        this = dataclasses.replace(
            job,
            custom_config=custom,
            serving_model_dir=str(folder / "serving"),
            model_run_dir=str(folder / "run"),
        )
        if stops:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Checkpoints, "finish", _interrupt)
                with pytest.raises(KeyboardInterrupt):
                    run_job(this, training)
        run_job(this, training)
        results.append(keras.models.load_model(folder / "run" / "model.keras").get_weights())
    for undisturbed, killed in zip(*results, strict=True):
        np.testing.assert_array_equal(undisturbed, killed)


def _interrupt(_: Checkpoints) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_shapes_are_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    splits = {"train": records(300), "eval": records(40, 10_000)}
    training = {
        "epochs": 22,
        "global_batch_size": 16,
        "learning_rate": 0.004,
        "schedule": "cosine",
        "warmup_epochs": 1,
        "tracking": {"graph": False},
    }
    job = shapes.make_job(tmp_path, splits, TRANSFORM, MODEL, training)
    with caplog.at_level(logging.INFO, "mirante.trainer"):
        run_job(job, TrainingConfig.model_validate(training))
    lines = [record.message for record in caplog.records if "training epoch" in record.message]
    assert len(lines) == 22
    for part in ("class loss", "box loss", "eval loss", "eval mAP@.5"):
        assert part in lines[-1]
    assert (tmp_path / "run" / "training" / "inputs.png").is_file()

    drawn = [shapes.draw(20_000 + seed) for seed in range(100)]
    signature = tf.saved_model.load(job.serving_model_dir).signatures["serving_default"]
    found = signature(image_bytes=tf.constant([picture.encoded for picture in drawn]))
    truth = np.zeros((100, 2, 5), np.float32)
    for row, picture in enumerate(drawn):
        truth[row, : len(picture.labels)] = np.column_stack([picture.boxes, picture.labels])
    predictions = {
        "boxes": found["boxes"].numpy(),
        "scores": found["scores"].numpy(),
        "labels": found["class_labels"].numpy(),
    }
    task = Detection(shapes.CLASSES, ModelConfig.model_validate(job.custom_config["model"]), (96, 96, 3))
    assert task.judge(truth, predictions)["map_50"] >= 0.95
    assert found["class_names"].numpy()[0, 0].decode() in {shapes.CLASSES[n - 1] for n in drawn[0].labels}
