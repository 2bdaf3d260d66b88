"""Examples by their number, and those that are held in memory."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from components.base.arrays import Array
from components.base.memory import measure_memory

# Share of the free memory that one split's pixels may take: they must leave room for those of the other split
# and for the network.
CACHE_MEMORY_SHARE = 0.2
# TensorFlow shares arrays whose first byte is at a multiple of this (Eigen's largest).
_ALIGNMENT_BYTES = 64


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
    """Examples held in memory: images, or features of them, float32 [num_examples, ...], and their labels.

    Images of `make_array` are not copied: do not change them any more.
    """

    def __init__(self, split: str, images: Array, labels: Array):
        self.split = split
        self.num_examples = len(images)
        is_class = np.issubdtype(labels.dtype, np.integer)
        self.labels = labels.astype(np.int64) if is_class else labels
        with tf.device("CPU"):
            self._tensors = _share(images), tf.constant(self.labels)

    def load(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Examples.load`."""
        # Gathering whole batches by row is twice as fast as shuffling and batching images one by one.
        images, labels = self._tensors
        return tf.gather(images, rows), tf.gather(labels, rows)


def make_array(shape: Sequence[int]) -> Array:
    """Return an empty array, float32, that TensorFlow can share."""
    size = 4 * math.prod(shape)
    room = np.empty(size + _ALIGNMENT_BYTES, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT_BYTES
    return room[start : start + size].view(np.float32).reshape(shape)


def _share(images: Array) -> tf.Tensor:
    """Return images as a tensor that shares their memory: `tf.constant` would copy them twice."""
    is_ready = images.dtype == np.float32 and images.flags.c_contiguous and images.flags.writeable
    if not is_ready or images.ctypes.data % _ALIGNMENT_BYTES:
        given, images = images, make_array(images.shape)
        images[...] = given
    return tf.experimental.dlpack.from_dlpack(images.__dlpack__())


def available_memory_bytes() -> int:
    """Return the memory that can be taken without swapping, in a container of its limit."""
    return measure_memory()[1]
