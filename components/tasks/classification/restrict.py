"""The answers of a classifier among the classes that another one knows too.

A classifier answers with probabilities over its own classes, so one that knows more classes can confuse more.
To compare two such models, both get the smaller question: only images whose true class both know count, and
each model's answer is the most probable common class, with probabilities divided by their sum.
"""

from collections.abc import Sequence

import numpy as np

from components.base.arrays import Array
from components.base.common_classes import places_of


def restrict(
    labels: Array,
    probabilities: Array,
    class_names: Sequence[str],
    known: Sequence[str],
    common: Sequence[str],
) -> tuple[Array, Array]:
    """Restrict a batch to the images of the common classes, and the answers to these classes.

    Args:
        labels: int [N], 0 to classes - 1.
        probabilities: float [N, classes of the model].
        class_names: Classes of the labels.
        known: Classes of the model, in the order of its probabilities.
        common: Classes to keep, each of them in both.

    Returns:
        Labels int64 [n] and probabilities float64 [n, common], in the order of `common`. Each row has the sum
        1, or 0 where the model gives all of its probability to other classes.

    Raises:
        ValueError: The shapes do not fit, or a label is out of range.
    """
    labels, probabilities = np.asarray(labels, np.int64), np.asarray(probabilities)
    if probabilities.shape != (len(labels), len(known)):
        raise ValueError(
            f"expected probabilities of {len(labels)} images and {len(known)} classes, got "
            f"{' x '.join(map(str, probabilities.shape))}"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < len(class_names):
        raise ValueError(f"expected labels 0 to {len(class_names) - 1}, got {labels.min()} to {labels.max()}")
    kept = places_of(class_names, common)[labels]
    is_common = kept >= 0
    columns = places_of(common, known)
    chosen = probabilities[is_common][:, columns].astype(np.float64)
    sums = chosen.sum(axis=1, keepdims=True)
    return kept[is_common], chosen / np.where(sums > 0.0, sums, 1.0)
