"""The examples of a split, by their number, through the Transform graph.

The Transform graph is the one that the model serves with (components/trainer/export.py). Every example is
available at any time by its number: from decoded pixels in memory or on disk, or from the encoded record. So
the whole split can be shuffled, and what a step sees is a function of the seed and the step alone: a training
that was killed resumes at any step at once, and so does each process of several.
"""

from __future__ import annotations

import functools
import logging
import shutil
import tempfile
import time
from typing import Any, Literal

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.base.arrays import Array
from components.base.errors import MiranteError
from components.base.records import record_dataset
from components.trainer.config import TrainingConfig
from components.trainer.input.examples import (
    CACHE_MEMORY_SHARE,
    ArrayExamples,
    Examples,
    available_memory_bytes,
    make_array,
)
from components.trainer.trainee import Trainee
from components.transform.pixels import IMAGE

logger = logging.getLogger("mirante.trainer")

# Share of the free disk that one split's pixels may take.
CACHE_DISK_SHARE = 0.5
# Encoded images of this size and more take so long to decode that reading pixels from a disk is faster.
LARGE_ENCODED_BYTES = 300_000
TRANSFORM_BATCH = 32
# Records that are looked into together for their labels.
_RECORDS_AT_ONCE = 128


class SplitInput:
    """One split's examples, as ImportExampleGen wrote them.

    Args:
        split: Name, for messages.
        file_patterns: The TFRecord files.
        tft_output: The Transform graph.
        trainee: Which features go through it, and what becomes of the labels.
        config: The recipe's part `training`.

    Raises:
        MiranteError: The split has no records.
    """

    def __init__(
        self,
        split: str,
        file_patterns: list[str],
        tft_output: tft.TFTransformOutput,
        trainee: Trainee,
        config: TrainingConfig = TrainingConfig(),  # noqa: B008 - frozen
    ):
        self.split = split
        self._records = record_dataset(
            name for pattern in file_patterns for name in tf.io.gfile.glob(pattern)
        )
        self._tft_output, self._trainee = tft_output, trainee
        sizes = self._records.map(tf.strings.length).batch(1 << 16)
        self._record_bytes = np.concatenate([np.empty(0, np.int64), *(batch.numpy() for batch in sizes)])
        self.num_examples = len(self._record_bytes)
        if self.num_examples == 0:
            raise MiranteError(f"the {split} split has no examples: training needs train and eval")
        spec = tft_output.transformed_feature_spec()[IMAGE]
        self.image_shape = tuple(int(size) for size in spec.shape)
        self._config = config

    def load(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return rows int64 [N] as `image` float32 [N, H, W, C] and `label` [N, ...]."""
        return self._store.load(rows)

    def take_records(self, count: int) -> list[bytes]:
        """Return the first records, serialized, at most this many."""
        return [record.numpy() for record in self._records.take(count)]

    @property
    def labels(self) -> Array:
        """The labels [num_examples, ...]."""
        return self._store.labels

    @functools.cached_property
    def cache(self) -> Literal["memory", "disk", "none"]:
        """Where the pixels are kept; the choice is logged with its reason."""
        needed = self.num_examples * int(np.prod(self.image_shape)) * 4
        memory = int(CACHE_MEMORY_SHARE * available_memory_bytes())
        disk = int(CACHE_DISK_SHARE * shutil.disk_usage(tempfile.gettempdir()).free)
        mean_bytes = int(self._record_bytes.mean())
        if self._config.cache != "auto":
            chosen, reason = self._config.cache, "as training.cache says"
        elif needed <= memory:
            chosen, reason = "memory", f"it may take {memory / 2**30:.2f} GiB"
        elif mean_bytes >= LARGE_ENCODED_BYTES and needed <= disk:
            chosen = "disk"
            reason = f"memory may take {memory / 2**30:.2f} GiB, and decoding {mean_bytes:,} bytes takes long"
        else:
            chosen, reason = "none", f"memory may take {memory / 2**30:.2f} GiB"
        logger.info(
            "%s: %s images, pixels take %.2f GiB: %s (%s)",
            self.split,
            f"{self.num_examples:,}",
            needed / 2**30,
            {
                "memory": "kept in memory",
                "disk": "kept on disk",
                "none": "decoded anew in every epoch",
            }[chosen],
            reason,
        )
        return chosen

    # AutoGraph would rewrite the code of TensorFlow Transform first, for seconds.
    @tf.autograph.experimental.do_not_convert
    def _transformed(self, serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        outputs = self._layer(tf.io.parse_example(serialized, self._trainee.record_spec))
        return outputs[IMAGE], self._trainee.labels(outputs)

    @functools.cached_property
    def _layer(self) -> Any:
        return self._tft_output.transform_features_layer()

    @functools.cached_property
    def _store(self) -> Examples:
        # The first caller may be building a graph.
        with tf.init_scope():
            return self._fill_store()

    def _fill_store(self) -> Examples:
        if self.cache == "none":
            return _EncodedRecords(self)
        shape = (self.num_examples, *self.image_shape)
        if self.cache == "memory":
            images = make_array(shape)
        else:
            images = np.memmap(_temporary_file(4 * int(np.prod(shape))), np.float32, "r+", shape=shape)
        labels: list[Array] = []
        _ = self._layer  # takes seconds, and is no decoding
        began, start = time.monotonic(), 0
        batches = self._records.batch(TRANSFORM_BATCH).map(
            self._transformed, num_parallel_calls=tf.data.AUTOTUNE
        )
        for image, label in batches:
            rows = slice(start, start + len(label))
            images[rows] = image
            labels.append(label.numpy())
            start = rows.stop
        secs = time.monotonic() - began
        logger.info("%s: decoded and resized once, %.0f images/s, %.1f s", self.split, start / secs, secs)
        if self.cache == "memory":
            return ArrayExamples(self.split, images, np.concatenate(labels))
        return _PixelsOnDisk(self.split, images, np.concatenate(labels))


def _temporary_file(size: int) -> Any:
    """Make a file of this size that disappears with the process, however that ends."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - a memory map keeps it
    file.truncate(size)
    return file


class _PixelsOnDisk:
    """Decoded pixels in a memory-mapped file."""

    def __init__(self, split: str, images: Array, labels: Array):
        self.split, self.num_examples, self.labels = split, len(labels), labels
        self._images = images

    def load(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = tf.numpy_function(lambda rows: self._images[rows], [rows], tf.float32, stateful=False)
        return tf.ensure_shape(images, (*rows.shape, *self._images.shape[1:])), tf.gather(self.labels, rows)


class _EncodedRecords:
    """Records in an uncompressed file, decoded on each load."""

    def __init__(self, split: SplitInput):
        self.split, self.num_examples = split.split, split.num_examples
        self._transformed, self._image_shape = split._transformed, split.image_shape
        ends = np.cumsum(split._record_bytes)
        self._bounds = list(zip((ends - split._record_bytes).tolist(), ends.tolist(), strict=True))
        file = _temporary_file(0)
        labels = []
        outputs = split._tft_output.transformed_feature_spec()
        shapes = {
            name: tf.TensorShape(kind.shape)
            for name, kind in outputs.items()
            if isinstance(kind, tf.io.FixedLenFeature)
        }

        @tf.autograph.experimental.do_not_convert
        def labelled(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            parsed = tf.io.parse_example(records, split._trainee.record_spec)
            return records, split._trainee.labels_of_records(parsed, shapes)

        for records, label in split._records.batch(_RECORDS_AT_ONCE).map(labelled):
            file.write(b"".join(records.numpy()))
            labels.append(label.numpy())
        file.flush()
        self.labels = np.concatenate(labels)
        self._bytes = np.memmap(file, np.uint8, "r")

    def load(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def read(rows: Array) -> Array:
            bounds = (self._bounds[row] for row in rows.tolist())
            return np.array([self._bytes[start:end].tobytes() for start, end in bounds], object)

        records = tf.numpy_function(read, [rows], tf.string, stateful=False)
        images, labels = self._transformed(tf.ensure_shape(records, rows.shape))
        return (
            tf.ensure_shape(images, (*rows.shape, *self._image_shape)),
            tf.ensure_shape(labels, (*rows.shape, *self.labels.shape[1:])),
        )
