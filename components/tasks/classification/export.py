"""What the Exporter asks about classification: probabilities, and the accuracy. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence

import numpy as np

from components.base.arrays import Array
from components.base.example import parse_example
from schemas import features

OUTPUTS = ("probabilities",)


def read_truth(record: bytes) -> int:
    """Return the label of a record."""
    return int(parse_example(record)[features.LABEL][0])


def measure(
    answers: Mapping[str, Array],
    frames: Array | None,
    truths: Sequence[int],
    class_names: Sequence[str],
) -> float:
    """Return the share of images whose most probable class is theirs."""
    return float(np.mean(np.argmax(answers["probabilities"], axis=1) == np.array(truths)))
