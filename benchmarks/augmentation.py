"""What each augmentation costs: medians of several rounds, on batches as the recipes have them.

    python benchmarks/augmentation.py

Also of the Keras layers that Mirante does without (docs/augmentation.md). One batch after the other; training
makes them side by side. A core-ms is a millisecond of one core, and 500 images are what the recipe `cifar10`
trains in a second on two cores.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
ROUNDS = 5
# Long enough for a clock, short enough for all of them.
ROUND_SECS = 0.5
OPTIONS: dict[str, dict[str, object]] = {
    "flip": {"flip": "horizontal"},
    "translation": {"translation": 0.125},
    "erasing": {"erasing": 0.5},
    "cifar10 (these three)": {"flip": "horizontal", "translation": 0.125, "erasing": 0.5},
    "crop": {"crop": {"area": (0.25, 1.0)}},
    "zoom": {"zoom": 0.2},
    "rotation": {"rotation": 0.05},
    "brightness": {"brightness": 0.2},
    "contrast": {"contrast": 0.2},
    "saturation": {"saturation": 0.4},
    "hue": {"hue": 0.05},
    "rand_augment (2 of 0.3)": {"rand_augment": {"ops": 2, "magnitude": 0.3}},
    "mix_up": {"mix_up": 0.2},
    "cut_mix": {"cut_mix": 1.0},
}


def main() -> None:
    sys.path.insert(0, str(REPOSITORY))
    import keras
    import numpy as np
    import tensorflow as tf

    from components.trainer.augment.changes import make_augmenter
    from components.trainer.augment.config import AugmentationConfig
    from components.transform.config import TransformConfig
    from components.transform.levels import known_levels

    layers = {
        "Keras RandomFlip": keras.layers.RandomFlip("horizontal"),
        "Keras RandomTranslation": keras.layers.RandomTranslation(0.125, 0.125, interpolation="nearest"),
        "Keras RandomErasing": keras.layers.RandomErasing((0.5, 0.5), fill_value=0.0),
        "Keras CutMix": keras.layers.CutMix((1.0, 1.0)),
        "Keras RandAugment": keras.layers.RandAugment((0, 1), num_ops=2, factor=0.3),
    }
    print(f"{'':26}{'batch':>14}{'images/s':>10}{'core-ms per 500 images':>26}", flush=True)
    for side, count in ((32, 64), (224, 32)):
        images = tf.constant(np.random.default_rng(0).random((count, side, side, 3), np.float32))
        labels = tf.range(count, dtype=tf.int64) % 10
        levels = known_levels(TransformConfig(normalization="zero_one"))
        augments: dict[str, Callable[..., object]] = {}
        for name, options in OPTIONS.items():
            augment = make_augmenter(AugmentationConfig.model_validate(options), 0, 10, levels)
            assert augment is not None
            augments[name] = augment
        for name, layer in layers.items():

            def by_keras(
                number: tf.Tensor, images: tf.Tensor, labels: tf.Tensor, layer: keras.Layer = layer
            ) -> tf.Tensor:
                if isinstance(layer, keras.layers.CutMix):
                    return layer({"images": images, "labels": tf.one_hot(labels, 10)}, training=True)
                return layer(images, training=True)

            augments[name] = by_keras
        for name, function in augments.items():
            batches = iter(
                tf.data.Dataset.range(1 << 40).map(lambda n, f=function, i=images, y=labels: f(n, i, y))
            )
            next(batches)
            speeds, costs = [], []
            for _ in range(ROUNDS):
                began, began_cpu, made = time.monotonic(), time.process_time(), 0
                while time.monotonic() - began < ROUND_SECS:
                    next(batches)
                    made += count
                speeds.append(made / (time.monotonic() - began))
                costs.append((time.process_time() - began_cpu) / made * 500 * 1000)
            size = f"{count} x {side} px"
            print(
                f"{name:26}{size:>14}{statistics.median(speeds):10.0f}{statistics.median(costs):26.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
