"""What the Trainer reads: the examples of a split, by their number, through the Transform graph.

The Transform graph is the very one that the model serves with (components/trainer/export.py). Every example
can be had at any time by its number, from decoded pixels in memory or on disk or from the encoded record, so
that the whole split is shuffled, and what a step sees is a function of the seed and the step alone: a
training that was killed goes on at any step at once, and so does each process of several.
"""

from __future__ import annotations

import functools
import itertools
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import psutil
import tensorflow as tf
import tensorflow_transform as tft

from components.base.errors import MiranteError
from components.base.records import record_dataset
from components.trainer.augment.changes import Augment
from components.trainer.strategy import Place
from components.transform.pixels import IMAGE

if TYPE_CHECKING:
    from components.trainer.trainee import Task

logger = logging.getLogger("mirante.trainer")

# Share of the free memory that one split's pixels may take: they are held twice for a moment, and must leave
# room for the network.
CACHE_MEMORY_SHARE = 0.2
# Share of the free disk that they may take.
CACHE_DISK_SHARE = 0.5
# Encoded images of this size and more take so long to decode that reading pixels from a disk is faster.
LARGE_ENCODED_BYTES = 300_000
TRANSFORM_BATCH = 32
# Looked into together for their labels.
_RECORDS_AT_ONCE = 128
# Taken from Python together: each time costs about a millisecond.
_CHUNKS_AT_ONCE = 64


class Examples(Protocol):
    """A split of `(image, label)`, each to be had by its number.

    Attributes:
        split: Its name, for messages.
        num_examples: They are numbered from 0.
        labels: As the task has them, [num_examples, ...]; classes are int64 [num_examples].
    """

    split: str
    num_examples: int

    @property
    def labels(self) -> np.ndarray[Any, Any]:
        """As the task has them, [num_examples, ...]."""
        ...

    def load(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Rows int64 [N] to `image` float32 [N, ...] and `label` [N, ...], in a graph."""
        ...


class ArrayExamples:
    """Examples held in memory: images, or features of them, float32 [num_examples, ...], and their labels."""

    def __init__(self, split: str, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]):
        self.split = split
        self.num_examples = len(images)
        is_class = np.issubdtype(labels.dtype, np.integer)
        self.labels = labels.astype(np.int64) if is_class else labels
        with tf.device("CPU"):
            self._tensors = tf.constant(images, tf.float32), tf.constant(self.labels)

    def load(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Gathering whole batches by row is twice as fast as shuffling and batching images one by one."""
        images, labels = self._tensors
        return tf.gather(images, rows), tf.gather(labels, rows)


def available_memory_bytes() -> int:
    """Memory that can be taken without swapping."""
    return int(psutil.virtual_memory().available)


class SplitInput:
    """One split's examples, as ImportExampleGen wrote them.

    Args:
        split: Name, for messages.
        file_patterns: The TFRecord files.
        tft_output: The Transform graph.
        task: What of a record goes through it, and what becomes of the labels.
        cache: Where decoded pixels are kept, as `training.cache` says.

    Raises:
        MiranteError: The split has no records.
    """

    def __init__(
        self,
        split: str,
        file_patterns: list[str],
        tft_output: tft.TFTransformOutput,
        task: Task,
        cache: Literal["auto", "memory", "disk", "none"] = "auto",
    ):
        self.split = split
        self._records = record_dataset(
            name for pattern in file_patterns for name in tf.io.gfile.glob(pattern)
        )
        self._tft_output, self._task = tft_output, task
        sizes = self._records.map(tf.strings.length).batch(1 << 16)
        self._record_bytes = np.concatenate([np.empty(0, np.int64), *(batch.numpy() for batch in sizes)])
        self.num_examples = len(self._record_bytes)
        if self.num_examples == 0:
            raise MiranteError(f"the {split} split has no examples: training needs train and eval")
        spec = tft_output.transformed_feature_spec()[IMAGE]
        self.image_shape = tuple(int(size) for size in spec.shape)
        self._cache = cache

    def load(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Rows int64 [N] to `image` float32 [N, height_px, width_px, channels] and `label` [N, ...]."""
        return self._store.load(rows)

    @property
    def labels(self) -> np.ndarray[Any, Any]:
        """As the task has them, [num_examples, ...]."""
        return self._store.labels

    @functools.cached_property
    def cache(self) -> Literal["memory", "disk", "none"]:
        """Where the pixels are kept; the choice, with its reason, is told to the log."""
        needed = self.num_examples * int(np.prod(self.image_shape)) * 4
        memory = int(CACHE_MEMORY_SHARE * available_memory_bytes())
        disk = int(CACHE_DISK_SHARE * shutil.disk_usage(tempfile.gettempdir()).free)
        mean_bytes = int(self._record_bytes.mean())
        if self._cache != "auto":
            chosen, reason = self._cache, "as training.cache says"
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

    def _transformed(self, serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        outputs = self._layer(tf.io.parse_example(serialized, self._task.record_spec))
        return outputs[IMAGE], self._task.labels(outputs)

    @functools.cached_property
    def _layer(self) -> Any:
        return self._tft_output.transform_features_layer()

    @functools.cached_property
    def _store(self) -> Examples:
        # Whoever asks first may be building a graph.
        with tf.init_scope():
            return self._fill_store()

    def _fill_store(self) -> Examples:
        if self.cache == "none":
            return _EncodedRecords(self)
        shape = (self.num_examples, *self.image_shape)
        if self.cache == "memory":
            images = np.empty(shape, np.float32)
        else:
            images = np.memmap(_temporary_file(4 * int(np.prod(shape))), np.float32, "r+", shape=shape)
        labels: list[np.ndarray[Any, Any]] = []
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
    """A file of so many bytes that goes with the process, however that ends."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - a memory map keeps it
    file.truncate(size)
    return file


class _PixelsOnDisk:
    """Decoded pixels in a memory-mapped file."""

    def __init__(self, split: str, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]):
        self.split, self.num_examples, self.labels = split, len(labels), labels
        self._images = images

    def load(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = tf.numpy_function(lambda rows: self._images[rows], [rows], tf.float32, stateful=False)
        return tf.ensure_shape(images, (*rows.shape, *self._images.shape[1:])), tf.gather(self.labels, rows)


class _EncodedRecords:
    """Records in an uncompressed file, decoded when they are asked for."""

    def __init__(self, split: SplitInput):
        self.split, self.num_examples = split.split, split.num_examples
        self._transformed, self._image_shape = split._transformed, split.image_shape
        ends = np.cumsum(split._record_bytes)
        self._bounds = list(zip((ends - split._record_bytes).tolist(), ends.tolist(), strict=True))
        file = _temporary_file(0)
        labels = []
        outputs = split._tft_output.transformed_feature_spec()
        shapes = {name: tf.TensorShape(kind.shape) for name, kind in outputs.items()}

        def labelled(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            parsed = tf.io.parse_example(records, split._task.record_spec)
            return records, split._task.labels_of_records(parsed, shapes)

        for records, label in split._records.batch(_RECORDS_AT_ONCE).map(labelled):
            file.write(b"".join(records.numpy()))
            labels.append(label.numpy())
        file.flush()
        self.labels = np.concatenate(labels)
        self._bytes = np.memmap(file, np.uint8, "r")

    def load(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def read(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            bounds = (self._bounds[row] for row in rows.tolist())
            return np.array([self._bytes[start:end].tobytes() for start, end in bounds], object)

        records = tf.numpy_function(read, [rows], tf.string, stateful=False)
        images, labels = self._transformed(tf.ensure_shape(records, rows.shape))
        return (
            tf.ensure_shape(images, (*rows.shape, *self._image_shape)),
            tf.ensure_shape(labels, (*rows.shape, *self.labels.shape[1:])),
        )


def chunks(
    num_examples: int, batch_size: int, seed: int, first_step: int, place: Place
) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
    """What the replicas of this process train on, without end, from step `first_step` on.

    The examples are shuffled anew for every epoch, each epoch following the other without a gap, and dealt
    out to steps of `batch_size` and within a step to the replicas of all processes: every example is seen
    exactly once in an epoch, and all steps are of one size.

    Yields:
        The replica's number over all steps (`step * num_replicas + replica`), and its rows, int64
        [batch_size / num_replicas]; for each step, one for each replica of this process.
    """
    size = batch_size // place.num_replicas
    first_replica = place.worker * place.local_replicas
    epoch, offset = divmod(first_step * batch_size, num_examples)
    order = np.random.default_rng([seed, epoch]).permutation(num_examples)[offset:]
    step = first_step
    while True:
        while len(order) < batch_size:
            epoch += 1
            order = np.concatenate([order, np.random.default_rng([seed, epoch]).permutation(num_examples)])
        for replica in range(first_replica, first_replica + place.local_replicas):
            yield step * place.num_replicas + replica, order[replica * size : (replica + 1) * size]
        order = order[batch_size:]
        step += 1


def training_batches(
    examples: Examples,
    batch_size: int,
    seed: int,
    *,
    first_step: int = 0,
    place: Place | None = None,
    augment: Augment | None = None,
) -> tf.data.Dataset:
    """Batches for the replicas of this process, without end: `(image, label)` as `Examples.load` gives them.

    What a batch holds depends on the seed and its number alone. See `chunks` for who sees what.
    """
    place = place or Place(tf.distribute.get_strategy())
    size = batch_size // place.num_replicas

    def dealt() -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        numbered = chunks(examples.num_examples, batch_size, seed, first_step, place)
        while True:
            numbers, rows = zip(*itertools.islice(numbered, _CHUNKS_AT_ONCE), strict=True)
            yield np.array(numbers), np.stack(rows)

    numbers = tf.data.Dataset.from_generator(
        dealt,
        output_signature=(tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, size], tf.int64)),
    ).unbatch()

    def load(number: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return number, *examples.load(rows)

    loaded = numbers.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    if augment is not None:
        # It keeps no state, and the order is kept: side by side, too.
        varied = loaded.map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    else:
        varied = loaded.map(lambda _, image, label: (image, label))
    return varied.prefetch(tf.data.AUTOTUNE)


def evaluation_rows(
    num_examples: int, batch_size: int, place: Place
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Which examples `evaluation_batches` gives to the replicas of this process.

    Returns:
        Rows int64 [batches, batch_size / num_replicas], and their weights, float32 of the same shape.
    """
    size = batch_size // place.num_replicas
    steps = -(-num_examples // batch_size)
    numbers = np.arange(steps * batch_size).reshape(steps, place.num_replicas, size)
    first_replica = place.worker * place.local_replicas
    mine = numbers[:, first_replica : first_replica + place.local_replicas].reshape(-1, size)
    return np.minimum(mine, num_examples - 1), (mine < num_examples).astype(np.float32)


def evaluation_batches(examples: Examples, batch_size: int, place: Place | None = None) -> tf.data.Dataset:
    """Batches for the replicas of this process: `(image, label, weight)`, weight float32 [N].

    Every example once over all processes, in order; all batches are of one size and all processes have
    equally many, filled up with examples of weight 0.
    """
    place = place or Place(tf.distribute.get_strategy())
    rows, weights = evaluation_rows(examples.num_examples, batch_size, place)

    def load(rows: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return *examples.load(rows), weights

    batches = tf.data.Dataset.from_tensor_slices((rows, weights))
    return batches.map(load, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
