"""What an export asks about multilabel classification: probabilities, and their mean average precision.

An export says which classes reach their thresholds, too. Imports no TensorFlow.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.metrics import average_precision_score

from components.base.arrays import Array
from components.base.example import parse_example
from components.tasks.multilabel.truth import make_truth
from schemas import features

OUTPUTS = ("probabilities", "predicted")


def read_truth(record: bytes) -> list[int]:
    """Return the labels of a record."""
    return list(parse_example(record).get(features.LABEL, []))


def measure(
    answers: Mapping[str, Array],
    frames: Array | None,
    truths: Sequence[Sequence[int]],
    class_names: Sequence[str],
) -> float:
    """Return the mean over the classes that an image has of their average precision; nan if none has one."""
    truth = make_truth(truths, len(class_names))
    there = truth.any(axis=0)
    if not there.any():
        return math.nan
    probabilities = answers["probabilities"]
    return float(
        np.mean([average_precision_score(truth[:, i], probabilities[:, i]) for i in np.flatnonzero(there)])
    )
