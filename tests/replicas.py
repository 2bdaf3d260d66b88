"""Small trainings by a strategy, in a process of its own: `python -m tests.replicas KIND FOLDER`.

KIND: `one`, `mirrored` (two logical CPUs) or `cluster` (TF_CONFIG). Trains `plain`, without batch norm,
dropout and augmentation, `varied`, with them, and a detector. Writes the curves of all to
FOLDER/<worker>.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from components.trainer.augment.config import AugmentationConfig
from components.trainer.config import TrainingConfig
from components.trainer.optimizers.config import OPTIONS, EmaConfig


def train_detector(place: Any, folder: Path) -> dict[str, Any]:
    """A detector without batch norm, whose statistics would be of each replica alone."""
    from tests.make import shapes
    from tests.make.trainings import train

    task = shapes.make_task(64)
    with place.strategy.scope():
        model = shapes.make_network(task, 64, batch_norm=False)
    config = TrainingConfig(optimizer="sgd", epochs=2, learning_rate=0.01, global_batch_size=12)
    course = train(
        model,
        config,
        folder / "detector",
        train=shapes.make_examples("train", 32, 0, 64),
        evaluation=shapes.make_examples("eval", 8, 100, 64),
        place=place,
        task=task,
    )
    return {
        "losses": course.epochs("loss"),
        "box_losses": course.epochs("box_loss"),
        "eval_losses": course.epochs("eval_loss"),
        "weights": [weight.tolist() for weight in model.get_weights()],
    }


def make_step(optimizer: Any, variable: keras.Variable, num_replicas: int) -> Any:
    def step() -> None:
        # Of each replica its own: one and the same tensor would not be summed.
        optimizer.apply([tf.constant([0.5, -3.0]) / num_replicas], [variable])

    return tf.function(step, autograph=False)


def apply_optimizers(place: Any) -> dict[str, list[float]]:
    """A weight after three steps of each optimiser; each replica has its part of the gradient."""
    from components.trainer.optimizers.make import make_optimizer

    found = {}
    for name in OPTIONS:
        with place.strategy.scope():
            variable = keras.Variable([1.0, -2.0])
            optimizer = make_optimizer(TrainingConfig(optimizer=name, weight_decay=0.1), 0.1)
            optimizer.build([variable])

        step = make_step(optimizer, variable, place.num_replicas)
        for _ in range(3):
            place.strategy.run(step)
        found[name] = variable.numpy().tolist()
    return found


def main(kind: str, folder: Path) -> None:
    if kind == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    plain = TrainingConfig(
        strategy={"one": "one_device", "mirrored": "mirrored", "cluster": "multi_worker"}[kind],
        optimizer="sgd",
        # 54 steps, so that there is a point of the curve of single steps.
        epochs=20,
        learning_rate=0.1,
        # 64 examples by 24: batches that go over the end of an epoch.
        global_batch_size=24,
        weight_decay=0.01,
        class_weights={"standing": 1.5},
        clip_norm=0.5,
        gradient_parts=2,
        ema=EmaConfig(decay=0.9, use="always"),
    )
    flip = AugmentationConfig(flip="horizontal_and_vertical")
    from components.trainer.strategy import make_place

    place = make_place(plain)
    from tests.make.trainings import make_network, train

    results: dict[str, Any] = {"optimizers": apply_optimizers(place)}
    # Few epochs: losses near 0 differ by more than their batches' statistics do.
    sampled = {"class_weights": "none", "sampling": "balanced", "clip_norm": None, "gradient_parts": 1}
    varied = plain.model_copy(update={"augmentation": flip, "epochs": 6, **sampled})
    for name, config in (("plain", plain), ("varied", varied)):
        is_plain = name == "plain"
        with place.strategy.scope():
            model = make_network(batch_norm=not is_plain, dropout=0.0 if is_plain else 0.1)
        course = train(model, config, folder / name, place=place)
        results[name] = {
            "replicas": place.num_replicas,
            "losses": course.epochs("loss"),
            "eval_losses": course.epochs("eval_loss"),
            "eval_accuracies": course.epochs("eval_accuracy"),
            "norms": [values["step/gradient_norm"] for *_, values in course.points if "step/loss" in values],
            "weights": [weight.tolist() for weight in model.get_weights()],
        }
    results["detector"] = train_detector(place, folder)
    (folder / f"{place.worker}.json").write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
