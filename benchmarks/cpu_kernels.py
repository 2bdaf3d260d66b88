"""Training steps on this CPU by the kernels that TensorFlow takes, with oneDNN's, with fused batch norm.

    python benchmarks/cpu_kernels.py [lenet|cifar_resnet|mobilenet_v2]...      (in `make bench-training`)

TensorFlow reads its switch once, so each measurement is a process of its own; they alternate. Prints images/s
and the ratio to TensorFlow's choice with Keras' own batch norm; and how many of the repeated gradients of one
batch were not those of the first.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
ROUNDS = 3
# Side in pixels, channels, batch size, steps measured at a time.
NETWORKS = {
    "lenet": (28, 1, 128, 40),
    "cifar_resnet": (32, 3, 64, 20),
    "mobilenet_v2": (224, 3, 32, 4),
}
# The value of TF_ENABLE_ONEDNN_OPTS, and whether the batch norm is the fused one.
SIDES: dict[str, tuple[str | None, bool]] = {
    "TensorFlow's choice": (None, False),
    "oneDNN": ("1", False),
    "oneDNN, fused batch norm": ("1", True),
}


def measure(name: str, is_fused: bool) -> dict[str, float]:
    """Images/s of `name`, and the share of gradients that were not equal to the first."""
    sys.path.insert(0, str(REPOSITORY))
    import keras
    import numpy as np
    import tensorflow as tf

    from components.models import batch_norm, build_model
    from components.models.config import ModelConfig
    from components.tasks.classification.trainer import cross_entropy
    from components.trainer.config import TrainingConfig
    from components.trainer.optimizers.make import make_optimizer

    if not is_fused:
        batch_norm.BatchNormalization.call = keras.layers.BatchNormalization.call  # type: ignore[method-assign]
    side, channels, batch_size, steps = NETWORKS[name]
    keras.utils.set_random_seed(1)
    model = build_model(ModelConfig(name=name), (side, side, channels), 10)
    training = TrainingConfig(optimizer="sgd")
    optimizer, loss_of = make_optimizer(training, 1e-3), cross_entropy(training.label_smoothing)
    optimizer.build(model.trainable_variables)
    random = np.random.default_rng(0)
    images = tf.constant(random.random((batch_size, side, side, channels), np.float32))
    labels = tf.constant(random.integers(0, 10, batch_size))

    def gradients_of(images: tf.Tensor, labels: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(loss_of(labels, model(images, training=True)))
        return tape.gradient(loss, model.trainable_variables)

    @tf.function
    def step(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        gradients = gradients_of(images, labels)
        optimizer.apply(gradients, model.trainable_variables)
        return tf.linalg.global_norm(gradients)

    for _ in range(3):
        step(images, labels)
    began = time.perf_counter()
    for _ in range(steps):
        float(step(images, labels))
    speed = steps * batch_size / (time.perf_counter() - began)

    again = tf.function(gradients_of)
    first = [gradient.numpy() for gradient in again(images, labels)]
    different = 0
    for _ in range(steps):
        pairs = zip(first, again(images, labels), strict=True)
        different += not all(np.array_equal(a, b) for a, b in pairs)
    return {"images_per_sec": speed, "different": different / steps}


def main(names: list[str]) -> int:
    """Prints a line a network and side."""
    for name in names or NETWORKS:
        results: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
        for _ in range(ROUNDS):
            for side, (onednn, is_fused) in SIDES.items():
                environment = {k: v for k, v in os.environ.items() if k != "TF_ENABLE_ONEDNN_OPTS"}
                if onednn is not None:
                    environment["TF_ENABLE_ONEDNN_OPTS"] = onednn
                done = subprocess.run(
                    [sys.executable, __file__, "--measure", name, str(int(is_fused))],
                    env={**environment, "TF_CPP_MIN_LOG_LEVEL": "3"},
                    stdout=subprocess.PIPE,
                    check=True,
                )
                results[side].append(json.loads(done.stdout.splitlines()[-1]))
        speeds = {
            side: statistics.median(result["images_per_sec"] for result in of_side)
            for side, of_side in results.items()
        }
        base = next(iter(speeds.values()))
        for side, speed in speeds.items():
            different = statistics.mean(result["different"] for result in results[side])
            print(
                f"kernels, {name}: {side:26}{speed:8.1f} images/s, ratio {speed / base:.2f}; "
                f"{different:.0%} of equal gradients differ",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], sys.argv[3] == "1")))
        sys.exit(0)
    sys.exit(main(sys.argv[1:]))
