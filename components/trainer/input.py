"""Batches for the Trainer: records of a split, through the Transform graph.

The Transform graph is the very one that the model serves with (components/trainer/export.py). Transformed
pixels are kept in memory when the split fits into a share of what is free, else every epoch decodes anew.
"""

from __future__ import annotations

import functools
import logging

import numpy as np
import psutil
import tensorflow as tf
import tensorflow_transform as tft

from components.errors import MiranteError
from components.records import record_dataset
from components.trainer.augment import Augment
from components.transform import IMAGE, LABEL
from schemas import features

logger = logging.getLogger("mirante.trainer")

# Share of the free memory that one split's pixels may take: they are held twice for a moment, and must leave
# room for the network.
CACHE_MEMORY_SHARE = 0.2
# Records shuffled at once when the pixels are not cached; encoded images of about 100 KB make 1 GB.
SHUFFLE_RECORDS = 10_000
TRANSFORM_BATCH = 32

RECORD_SPEC = {
    features.ENCODED: tf.io.FixedLenFeature([1], tf.string),
    features.LABEL: tf.io.FixedLenFeature([1], tf.int64),
}


def available_memory_bytes() -> int:
    """Memory that can be taken without swapping."""
    return int(psutil.virtual_memory().available)


class SplitInput:
    """One split's examples as batches of `(image, label)`.

    `image` is float32 `[N, height_px, width_px, channels]`, `label` int64 `[N]`.

    Args:
        split: Name, for messages.
        file_patterns: The TFRecord files that ImportExampleGen wrote.
        tft_output: The Transform graph.

    Raises:
        MiranteError: The split has no records.
    """

    def __init__(self, split: str, file_patterns: list[str], tft_output: tft.TFTransformOutput):
        self.split = split
        self._records = record_dataset(
            name for pattern in file_patterns for name in tf.io.gfile.glob(pattern)
        )
        self._tft_output = tft_output
        self.num_examples = int(self._records.reduce(tf.constant(0, tf.int64), lambda n, _: n + 1))
        if self.num_examples == 0:
            raise MiranteError(f"the {split} split has no examples: training needs train and eval")
        spec = tft_output.transformed_feature_spec()[IMAGE]
        self.image_shape = tuple(int(size) for size in spec.shape)

    def _transformed(self, records: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        layer = self._tft_output.transform_features_layer()

        def transform(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            outputs = layer(tf.io.parse_example(serialized, RECORD_SPEC))
            return outputs[IMAGE], outputs[LABEL]

        return records.batch(batch_size).map(transform, num_parallel_calls=tf.data.AUTOTUNE)

    @functools.cached_property
    def fits_in_memory(self) -> bool:
        """Whether the split's pixels are cached; told to the log."""
        needed = self.num_examples * tf.TensorShape(self.image_shape).num_elements() * 4
        limit = int(CACHE_MEMORY_SHARE * available_memory_bytes())
        fits = needed <= limit
        logger.info(
            "%s: %s images, pixels take %.2f GiB, may take %.2f GiB: %s",
            self.split,
            f"{self.num_examples:,}",
            needed / 2**30,
            limit / 2**30,
            "kept in memory" if fits else "decoded anew in every epoch",
        )
        return fits

    @functools.cached_property
    def _in_memory(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The whole split, in the order of the files: pixels float32 [N, H, W, C] and labels int64 [N]."""
        images = np.empty((self.num_examples, *self.image_shape), np.float32)
        labels = np.empty(self.num_examples, np.int64)
        start = 0
        for image, label in self._transformed(self._records, TRANSFORM_BATCH):
            rows = slice(start, start + len(label))
            images[rows], labels[rows] = image, label
            start = rows.stop
        with tf.device("CPU"):
            return tf.constant(images), tf.constant(labels)

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """Every example once, in the order of the files."""
        if self.fits_in_memory:
            examples = tf.data.Dataset.from_tensor_slices(self._in_memory).batch(batch_size)
        else:
            examples = self._transformed(self._records, batch_size)
        return examples.prefetch(tf.data.AUTOTUNE)

    def training_batches(self, batch_size: int, seed: int, augment: Augment | None = None) -> tf.data.Dataset:
        """Batches without end: epoch after epoch, every example once in each, each shuffled anew.

        What a batch holds depends on the seed and its number alone. The last batch of an epoch may be
        smaller.
        """
        if self.fits_in_memory:
            images, labels = self._in_memory
            rows = tf.data.Dataset.range(self.num_examples).shuffle(self.num_examples, seed=seed)
            # Gathering whole batches by row is twice as fast as shuffling and batching images one by one.
            examples = rows.batch(batch_size).map(
                lambda row: (tf.gather(images, row), tf.gather(labels, row))
            )
        else:
            records = self._records.shuffle(min(self.num_examples, SHUFFLE_RECORDS), seed=seed)
            examples = self._transformed(records, batch_size)
        examples = examples.repeat()
        if augment is not None:
            examples = examples.enumerate().map(lambda step, example: (augment(step, example[0]), example[1]))
        return examples.prefetch(tf.data.AUTOTUNE)
