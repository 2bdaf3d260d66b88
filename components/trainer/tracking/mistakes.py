"""Eval images that the network was wrong about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from components.trainer.input.examples import Examples

if TYPE_CHECKING:
    from components.pictures.grid import Mark
    from components.trainer.result import StageResult
    from components.trainer.trainee import Trainee


def mistakes(
    result: StageResult, examples: Examples, trainee: Trainee, count: int
) -> tuple[np.ndarray[Any, Any], list[str], list[list[Mark]]]:
    """Return the worst mistakes.

    Args:
        result: The predictions.
        examples: The images that they are for, by their rows.
        trainee: What is learned.
        count: The most to return.

    Returns:
        Images float32 [N, H, W, C] as the network sees them, the worst first, and for each what is written
        below it and which boxes are drawn on it.
    """
    worst = trainee.mistakes(result, examples.labels[result.rows], count)
    if not worst:
        return np.empty((0, 1, 1, 1), np.float32), [], []
    places, captions, marks = zip(*worst, strict=True)
    rows = tf.data.Dataset.from_tensors(result.rows[list(places)])
    images, _ = next(iter(rows.map(examples.load)))
    return images.numpy(), list(captions), list(marks)
