"""The order in which a training takes its examples: a shuffle of all, or equally many of each class.

With balanced sampling an epoch has as many images as without, and equally many of each class; the images of a
class take turns.

Source: Kang et al., Decoupling representation and classifier for long-tailed recognition, 2020
(class-balanced sampling).
"""

from collections.abc import Callable

import numpy as np

from components.base.arrays import Array
from components.trainer.config import TrainingConfig
from components.trainer.input.examples import Examples

# Takes the number of an epoch, from 0, and returns the rows of its examples, int64 [num_examples].
Order = Callable[[int], Array]


def make_order(config: TrainingConfig, examples: Examples) -> Order:
    """Return the order that `training.sampling` asks for."""
    if config.sampling == "balanced":
        return balanced_order(examples.labels, config.seed)
    return shuffled_order(examples.num_examples, config.seed)


def shuffled_order(num_examples: int, seed: int) -> Order:
    """Return an order in which every epoch has each example once, shuffled by the seed and the epoch."""
    return lambda epoch: np.random.default_rng([seed, epoch]).permutation(num_examples)


def balanced_order(labels: Array, seed: int) -> Order:
    """Return an order in which every epoch has equally many images of each class that has any.

    An epoch has as many images as there are labels; where they cannot be shared out evenly, classes take
    turns in having one more. No image of a class comes again before all others of its class have, over the
    borders of epochs too. The rows depend on the labels, the seed and the epoch alone.

    Args:
        labels: int [N], N > 0.
        seed: The training's.
    """
    total = len(labels)
    numbers, counts = np.unique(labels, return_counts=True)
    rows_by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])

    def count_drawn(images: int, place: int) -> int:
        """Return how many of the first images are of the class at a place: classes are dealt out in turn."""
        return (images - place + len(numbers) - 1) // len(numbers)

    def order(epoch: int) -> Array:
        parts = [
            _take_turns(rows, seed, place, *(count_drawn(n * total, place) for n in (epoch, epoch + 1)))
            for place, rows in enumerate(rows_by_class)
        ]
        return np.random.default_rng([seed, epoch]).permutation(np.concatenate(parts))

    return order


def _take_turns(rows: Array, seed: int, place: int, first: int, last: int) -> Array:
    """Return places `first` to `last` of an endless row of shuffles, in any order within a whole shuffle."""

    def shuffled(number: int) -> Array:
        # The last number is not 0: NumPy takes [1, 2] and [1, 2, 0] for the same seed.
        return np.random.default_rng([seed, number, place + 1]).permutation(rows)

    begun, start = divmod(first, len(rows))
    ended, stop = divmod(last, len(rows))
    if begun == ended:
        return shuffled(begun)[start:stop]
    whole = np.tile(rows, ended - begun - 1)
    return np.concatenate([shuffled(begun)[start:], whole, shuffled(ended)[:stop] if stop else rows[:0]])
