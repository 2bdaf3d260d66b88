"""What an export asks about multilabel classification: probabilities, and their mean average precision.

The thresholds of the classes are not in an export. Imports no TensorFlow.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.metrics import average_precision_score

from components.base.arrays import Array
from components.base.example import parse_example
from components.tasks.multilabel.truth import make_truth
from schemas import features

OUTPUTS = ("probabilities",)


def measure(
    answers: Mapping[str, Array],
    frames: Array | None,
    records: Sequence[bytes],
    class_names: Sequence[str],
) -> float:
    """Return the mean over the classes that an image has of their average precision."""
    labels = [parse_example(record).get(features.LABEL, []) for record in records]
    truth = make_truth(labels, len(class_names))
    there = truth.any(axis=0)
    probabilities = answers["probabilities"]
    return float(
        np.mean([average_precision_score(truth[:, i], probabilities[:, i]) for i in np.flatnonzero(there)])
    )
