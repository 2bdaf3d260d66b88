"""What the Exporter asks about classification: probabilities, and the accuracy. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence

import numpy as np

from components.base.arrays import Array
from components.base.example import parse_example
from schemas import features

OUTPUTS = ("probabilities",)


def measure(
    answers: Mapping[str, Array],
    frames: Array | None,
    records: Sequence[bytes],
    class_names: Sequence[str],
) -> float:
    """Return the share of images whose most probable class is theirs."""
    labels = np.array([parse_example(record)[features.LABEL][0] for record in records])
    return float(np.mean(np.argmax(answers["probabilities"], axis=1) == labels))
