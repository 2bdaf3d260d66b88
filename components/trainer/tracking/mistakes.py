"""Eval images that the network was wrong about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from components.trainer.input import Examples

if TYPE_CHECKING:
    from components.trainer.trainee import Evaluation, Mark, Task


def mistakes(
    evaluation: Evaluation, examples: Examples, task: Task, count: int
) -> tuple[np.ndarray[Any, Any], list[str], list[list[Mark]]]:
    """The worst mistakes, as the task has them.

    Args:
        evaluation: What was predicted.
        examples: The images that it was predicted for, by their rows.
        task: What for.
        count: How many at most.

    Returns:
        Images float32 [N, H, W, C] as the network sees them, the worst first, and for each what is written
        below it and which boxes are drawn on it.
    """
    worst = task.mistakes(evaluation, examples.labels[evaluation.rows], count)
    if not worst:
        return np.empty((0, 1, 1, 1), np.float32), [], []
    places, captions, marks = zip(*worst, strict=True)
    rows = tf.data.Dataset.from_tensors(evaluation.rows[list(places)])
    images, _ = next(iter(rows.map(examples.load)))
    return images.numpy(), list(captions), list(marks)
