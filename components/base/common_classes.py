"""Classes that two models both know, and the answers of one model among them alone. Imports no TensorFlow.

A model answers with probabilities over its own classes, so a model that knows more classes can confuse more.
To compare two such models, both are asked the smaller question: only images whose true class both know
count, and each model's answer is the most probable common class, with probabilities divided by their sum.
Classes are matched by name, because the position of a class among a model's outputs depends on the others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas import features

Array = npt.NDArray[Any]

# A classifier with one answer is always right. A detector also tells a class from the background.
_FEWEST = {features.CLASSIFICATION: 2, features.DETECTION: 1}


def find_common(task: str, class_names: Sequence[str], others: Collection[str]) -> tuple[str, ...]:
    """Return the classes that both know, in the order of `class_names`; none where too few to compare on."""
    known = set(others)
    common = tuple(name for name in class_names if name in known)
    return common if len(common) >= _FEWEST[task] else ()


def places_of(names: Sequence[str], among: Sequence[str]) -> Array:
    """Return the place of each name in `among`, int64 [names], -1 where it is not there."""
    places = {name: place for place, name in enumerate(among)}
    return np.array([places.get(name, -1) for name in names], np.int64)


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
