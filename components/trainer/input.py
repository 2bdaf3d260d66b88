"""Batches for the Trainer: records of a split, through the Transform graph.

The Transform graph is the very one that the model serves with (components/trainer/export.py). Transformed
pixels are kept in memory when the split fits into a share of what is free, else every epoch decodes anew.
"""

from __future__ import annotations

import functools
import logging
import os

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.errors import MiranteError
from components.transform import IMAGE, LABEL
from schemas import features

logger = logging.getLogger("mirante.trainer")

# Share of the free memory that one split's pixels may take: train and eval together must leave room for the
# network, and for a copy that the shuffle holds.
CACHE_MEMORY_SHARE = 0.2
# Records shuffled at once when the pixels are not cached; encoded images of about 100 KB make 1 GB.
SHUFFLE_RECORDS = 10_000
TRANSFORM_BATCH = 32

RECORD_SPEC = {
    features.ENCODED: tf.io.FixedLenFeature([1], tf.string),
    features.LABEL: tf.io.FixedLenFeature([1], tf.int64),
}


def available_memory_bytes() -> int:
    """Memory that can be taken without swapping, from /proc/meminfo; half of the total elsewhere."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


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
        self._files = sorted(name for pattern in file_patterns for name in tf.io.gfile.glob(pattern))
        self._tft_output = tft_output
        self.num_examples = int(self._records().reduce(tf.constant(0, tf.int64), lambda n, _: n + 1))
        if self.num_examples == 0:
            raise MiranteError(f"the {split} split has no examples: training needs train and eval")
        spec = tft_output.transformed_feature_spec()[IMAGE]
        self.image_shape = tuple(int(size) for size in spec.shape)

    def _records(self) -> tf.data.Dataset:
        files = tf.data.Dataset.from_tensor_slices(tf.constant(self._files, tf.string))
        return files.interleave(
            lambda name: tf.data.TFRecordDataset(name, compression_type=_compression(self._files)),
            cycle_length=4,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

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
    def _pixels(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The whole split: float32 [num_examples, H, W, C] and int64 [num_examples].

        In the order of a hash of the encoded images, so that a seed gives the same batches in every run:
        ExampleGen writes its records in an order of chance.
        """
        keys = np.concatenate(
            [key.numpy() for key in self._records().batch(TRANSFORM_BATCH).map(_content_key)]
        )
        place = np.empty(self.num_examples, np.int64)
        place[np.lexsort(keys.T)] = np.arange(self.num_examples)
        images = np.empty((self.num_examples, *self.image_shape), np.float32)
        labels = np.empty(self.num_examples, np.int64)
        start = 0
        for image, label in self._transformed(self._records(), TRANSFORM_BATCH):
            rows = place[start : start + len(label)]
            images[rows], labels[rows] = image, label
            start += len(label)
        with tf.device("CPU"):
            return tf.convert_to_tensor(images), tf.convert_to_tensor(labels)

    def batches(self, batch_size: int, shuffle_seed: int | None = None) -> tf.data.Dataset:
        """Batches of one epoch; shuffled anew in each epoch when a seed is given, else in file order."""
        if self.fits_in_memory:
            images, labels = self._pixels
            order = tf.data.Dataset.range(self.num_examples)
            if shuffle_seed is not None:
                order = order.shuffle(self.num_examples, seed=shuffle_seed)
            # Gathering whole batches by index is twice as fast as shuffling and batching images one by one.
            return (
                order.batch(batch_size)
                .map(lambda rows: (tf.gather(images, rows), tf.gather(labels, rows)))
                .prefetch(tf.data.AUTOTUNE)
            )
        records = self._records()
        if shuffle_seed is not None:
            records = records.shuffle(min(self.num_examples, SHUFFLE_RECORDS), seed=shuffle_seed)
        return self._transformed(records, batch_size).prefetch(tf.data.AUTOTUNE)


def _content_key(serialized: tf.Tensor) -> tf.Tensor:
    """String [N] of records to int64 [N, 2]: label and 63-bit hash of the encoded image."""
    parsed = tf.io.parse_example(serialized, RECORD_SPEC)
    hashes = tf.strings.to_hash_bucket_fast(parsed[features.ENCODED], 2**63 - 1)
    return tf.concat([parsed[features.LABEL], hashes], axis=1)


def _compression(files: list[str]) -> str:
    return "GZIP" if files and files[0].endswith(".gz") else ""
