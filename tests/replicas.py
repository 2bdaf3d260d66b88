"""A small training by a strategy, in a process of its own: `python -m tests.replicas KIND FOLDER PLAIN`.

KIND: `one`, `mirrored` (two logical CPUs) or `cluster` (TF_CONFIG). PLAIN is 1 without batch norm, dropout
and augmentation, and with a detector besides, else 0. Writes the curves to FOLDER/<worker>.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import tensorflow as tf

from components.config import TrainingConfig


def train_detector(place: Any, folder: Path) -> dict[str, Any]:
    """A detector without batch norm, whose statistics would be of each replica alone."""
    from tests import shapes
    from tests.training import train

    task = shapes.small_task(64)
    with place.strategy.scope():
        model = shapes.small_network(task, 64, batch_norm=False)
    config = TrainingConfig(optimizer="sgd", epochs=2, learning_rate=0.01, global_batch_size=12)
    course = train(
        model,
        config,
        folder / "detector",
        train=shapes.examples("train", 32, 0, 64),
        evaluation=shapes.examples("eval", 8, 100, 64),
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
