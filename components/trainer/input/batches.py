"""Batches of examples, for the replicas of this process."""

import itertools
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from components.base.arrays import Array
from components.trainer.augment.changes import Augment
from components.trainer.config import TrainingConfig
from components.trainer.input.examples import Examples
from components.trainer.input.order import Order, make_order
from components.trainer.strategy import Place

# Chunks that are taken from Python together: each call costs about a millisecond.
_CHUNKS_AT_ONCE = 64


def batch_size_for(config: TrainingConfig, place: Place, num_examples: int) -> int:
    """Return the global batch size, at most the number of examples."""
    largest = max(1, num_examples // place.num_replicas) * place.num_replicas
    return min(config.batch_size(place.num_replicas), largest)


def chunks(
    order: Order, num_examples: int, batch_size: int, first_step: int, place: Place
) -> Iterator[tuple[int, Array]]:
    """Yield what the replicas of this process train on, without end, from step `first_step` on.

    An epoch has the rows that its order gives, `num_examples` of them. Each epoch follows the other without a
    gap, and is dealt out to steps of `batch_size` and within a step to the replicas of all processes: all
    steps are of one size.

    Yields:
        The replica's number over all steps (`step * num_replicas + replica`), and its rows, int64
        [batch_size / num_replicas]; for each step, one for each replica of this process.
    """
    size = batch_size // place.num_replicas
    first_replica = place.worker * place.local_replicas
    epoch, offset = divmod(first_step * batch_size, num_examples)
    rows = order(epoch)[offset:]
    step = first_step
    while True:
        while len(rows) < batch_size:
            epoch += 1
            rows = np.concatenate([rows, order(epoch)])
        for replica in range(first_replica, first_replica + place.local_replicas):
            yield step * place.num_replicas + replica, rows[replica * size : (replica + 1) * size]
        rows = rows[batch_size:]
        step += 1


def training_batches(
    examples: Examples,
    config: TrainingConfig,
    *,
    first_step: int = 0,
    place: Place | None = None,
    augment: Augment | None = None,
) -> tf.data.Dataset:
    """Return batches for the replicas of this process, without end: `(image, label)` as `load` gives them.

    What a batch holds depends on the seed and its number alone. See `chunks` for which replica sees what.
    """
    place = place or Place(tf.distribute.get_strategy())
    batch_size = batch_size_for(config, place, examples.num_examples)
    order = make_order(config, examples)
    size = batch_size // place.num_replicas

    def dealt() -> Iterator[tuple[Array, Array]]:
        numbered = chunks(order, examples.num_examples, batch_size, first_step, place)
        while True:
            numbers, rows = zip(*itertools.islice(numbered, _CHUNKS_AT_ONCE), strict=True)
            yield np.array(numbers), np.stack(rows)

    numbers = tf.data.Dataset.from_generator(
        dealt, output_signature=(tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, size], tf.int64))
    ).unbatch()

    @tf.autograph.experimental.do_not_convert
    def load(number: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return number, *examples.load(rows)

    loaded = numbers.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    if augment is not None:
        # It keeps no state, and the order is kept: side by side, too.
        varied = loaded.map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    else:
        varied = loaded.map(_drop_number)
    return _rewrite_nothing(varied.prefetch(tf.data.AUTOTUNE))


def _rewrite_nothing(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Have TensorFlow run a dataset as it is: to rewrite its graph it would copy the pixels in memory."""
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return batches.with_options(options)


@tf.autograph.experimental.do_not_convert
def _drop_number(_: tf.Tensor, image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return image, label


def evaluation_rows(num_examples: int, batch_size: int, place: Place) -> tuple[Array, Array]:
    """Return which examples `evaluation_batches` gives to the replicas of this process.

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
    """Return batches for the replicas of this process: `(image, label, weight)`, weight float32 [N].

    Every example once over all processes, in order; all batches are of one size and all processes have
    equally many, padded with examples of weight 0.
    """
    place = place or Place(tf.distribute.get_strategy())
    rows, weights = evaluation_rows(examples.num_examples, batch_size, place)

    @tf.autograph.experimental.do_not_convert
    def load(rows: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return *examples.load(rows), weights

    batches = tf.data.Dataset.from_tensor_slices((rows, weights))
    loaded = batches.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    return _rewrite_nothing(loaded.prefetch(tf.data.AUTOTUNE))
