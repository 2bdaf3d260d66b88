"""Eval images that were classified wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from components.trainer.input import Examples

if TYPE_CHECKING:
    from components.trainer.step import Evaluation


def mistakes(
    evaluation: Evaluation, examples: Examples, class_names: Sequence[str], count: int
) -> tuple[np.ndarray[Any, Any], list[str]]:
    """The worst mistakes: those with the highest scores.

    Args:
        evaluation: What was predicted.
        examples: The images that it was predicted for, by their rows.
        class_names: In the order of the labels.
        count: How many at most.

    Returns:
        Images float32 [N, H, W, C] as the network sees them, highest score first, and for each what it is,
        what it was taken for, and with which score.
    """
    labels = examples.labels[evaluation.rows]
    wrong = np.flatnonzero(labels != evaluation.classes)
    # Equal scores in the order of the examples, so that two runs show the same.
    worst = wrong[np.argsort(-evaluation.scores[wrong], kind="stable")][:count]
    if len(worst) == 0:
        return np.empty((0, 1, 1, 1), np.float32), []
    rows = tf.data.Dataset.from_tensors(evaluation.rows[worst])
    images, _ = next(iter(rows.map(examples.load)))
    captions = [
        f"{class_names[labels[place]]}\ntaken for {class_names[evaluation.classes[place]]} "
        f"({evaluation.scores[place]:.2f})"
        for place in worst
    ]
    return images.numpy(), captions
