"""A small training by a strategy, in a process of its own: `python -m tests.replicas KIND FOLDER PLAIN`.

KIND: `one`, `mirrored` (two logical CPUs) or `cluster` (TF_CONFIG). PLAIN is 1 without batch norm, dropout
and augmentation, else 0. Writes the curves to FOLDER/<worker>.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import tensorflow as tf

from components.config import TrainingConfig


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
    }
    (folder / f"{place.worker}.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "1")
