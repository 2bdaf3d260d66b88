"""A small training by a strategy, in a process of its own: `python -m tests.replicas KIND FOLDER PLAIN`.

KIND: `one`, `mirrored` (two logical CPUs) or `cluster` (TF_CONFIG). PLAIN is 1 without batch norm, dropout
and augmentation, and with a detector besides, else 0. Writes the curves to FOLDER/<worker>.json.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from components.config import ModelConfig, TrainingConfig

# Of the detector.
SHAPE = (64, 64, 3)


def shapes_examples(split: str, count: int, first_seed: int) -> Any:
    from components.trainer.input import ArrayExamples
    from tests import shapes

    images, targets = [], np.zeros((count, 2, 5), np.float32)
    for number in range(count):
        drawn = shapes.draw(first_seed + number, SHAPE[0])
        images.append(np.asarray(Image.open(io.BytesIO(drawn.encoded))) / 127.5 - 1.0)
        targets[number, : len(drawn.labels)] = np.column_stack([drawn.boxes, drawn.labels])
    # One of them is difficult.
    targets[0, 0, 4] *= -1
    return ArrayExamples(split, np.array(images, np.float32), targets)


def train_detector(place: Any, folder: Path) -> dict[str, Any]:
    """A detector without batch norm, whose statistics would be of each replica alone."""
    from components.detection.task import Detection
    from tests import shapes
    from tests.training import train

    config = ModelConfig.model_validate({"name": "ssd_mobilenet_v2", "detection": {"extra_layers": 0}})
    task = Detection(shapes.CLASSES, config, SHAPE)
    with place.strategy.scope():
        keras.utils.set_random_seed(0)
        layers = keras.layers
        logits = 4 + len(shapes.CLASSES)
        model = keras.Sequential(
            [
                keras.Input(SHAPE),
                layers.AveragePooling2D(8),
                layers.Flatten(),
                layers.Dense(32, "relu"),
                layers.Dense(len(task.anchors) * logits, kernel_initializer="zeros"),
                layers.Reshape((-1, logits)),
            ]
        )
    training = TrainingConfig(
        strategy="auto", optimizer="sgd", epochs=2, learning_rate=0.01, global_batch_size=12
    )
    course = train(
        model,
        training,
        folder / "detector",
        train=shapes_examples("train", 32, 0),
        evaluation=shapes_examples("eval", 8, 100),
        place=place,
        task=task,
    )
    return {
        "losses": course.epochs("loss"),
        "box_losses": course.epochs("box_loss"),
        "eval_losses": course.epochs("eval_loss"),
        "weights": [weight.tolist() for weight in model.get_weights()],
    }


def main(kind: str, folder: Path, plain: bool) -> None:
    if kind == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    config = TrainingConfig(
        strategy={"one": "one_device", "mirrored": "mirrored", "cluster": "multi_worker"}[kind],
        optimizer="sgd",
        epochs=6,
        learning_rate=0.1,
        # 64 examples by 24: batches that go over the end of an epoch.
        global_batch_size=24,
        weight_decay=0.01,
        augmentation={} if plain else {"flip": "horizontal_and_vertical"},
    )
    from components.trainer.strategy import make_place

    place = make_place(config)
    from tests.training import small_network, train

    with place.strategy.scope():
        model = small_network(batch_norm=not plain, dropout=0.0 if plain else 0.1)
    course = train(model, config, folder, place=place)
    weights = [weight.tolist() for weight in model.get_weights()]
    result = {
        "replicas": place.num_replicas,
        "losses": course.epochs("loss"),
        "eval_losses": course.epochs("eval_loss"),
        "eval_accuracies": course.epochs("eval_accuracy"),
        "weights": weights,
        "detector": train_detector(place, folder) if plain else None,
    }
    (folder / f"{place.worker}.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "1")
