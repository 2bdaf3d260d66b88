"""Augmentation: Keras' preprocessing layers, on training batches only.

What happens to a batch is a function of the seed and of the number of the training step alone, so that a run
can be repeated, and one that was interrupted goes on as it would have.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from components.config import AugmentationConfig

# Draws that the layers make for one batch, with room to spare.
_DRAWS_PER_STEP = 1 << 10


# (step int64 [], images float32 [N, H, W, C]) -> images
Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def augmenter(config: AugmentationConfig, seed: int) -> Augment | None:
    """What the recipe asks for; None where it asks for nothing."""
    layers: list[keras.layers.Layer] = []
    if config.flip != "none":
        layers.append(keras.layers.RandomFlip(config.flip))
    if config.translation:
        layers.append(
            # Whole pixels: interpolating between them would blur small images.
            keras.layers.RandomTranslation(
                config.translation, config.translation, fill_mode="reflect", interpolation="nearest"
            )
        )
    if config.erasing:
        layers.append(keras.layers.RandomErasing((config.erasing, config.erasing), fill_value=0.0))
    if not layers:
        return None

    def augment(step: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        for number, layer in enumerate(layers):
            state = layer.generator.state
            state.assign(tf.cast(tf.stack([seed + number, step * _DRAWS_PER_STEP]), state.dtype))
            images = layer(images, training=True)
        return images

    return augment
