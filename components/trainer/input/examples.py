"""Examples by their number, and those that are held in memory."""

from typing import Protocol

import numpy as np
import tensorflow as tf

from components.base.arrays import Array
from components.base.memory import measure_memory

# Share of the free memory that one split's pixels may take: they are held twice for a moment, and must leave
# room for the network.
CACHE_MEMORY_SHARE = 0.2


class Examples(Protocol):
    """A split of `(image, label)`, each available by its number.

    Attributes:
        split: Its name, for messages.
        num_examples: They are numbered from 0.
        labels: As the trainee has them, [num_examples, ...]; classes are int64 [num_examples].
    """

    split: str
    num_examples: int

    @property
    def labels(self) -> Array:
        """The labels [num_examples, ...]."""
        ...

    def load(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return rows int64 [N] as `image` float32 [N, ...] and `label` [N, ...], in a graph."""
        ...


class ArrayExamples:
    """Examples held in memory: images, or features of them, float32 [num_examples, ...], and their labels."""

    def __init__(self, split: str, images: Array, labels: Array):
        self.split = split
        self.num_examples = len(images)
        is_class = np.issubdtype(labels.dtype, np.integer)
        self.labels = labels.astype(np.int64) if is_class else labels
        with tf.device("CPU"):
            self._tensors = tf.constant(images, tf.float32), tf.constant(self.labels)

    def load(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Examples.load`."""
        # Gathering whole batches by row is twice as fast as shuffling and batching images one by one.
        images, labels = self._tensors
        return tf.gather(images, rows), tf.gather(labels, rows)


def available_memory_bytes() -> int:
    """Return the memory that can be taken without swapping, in a container of its limit."""
    return measure_memory()[1]
