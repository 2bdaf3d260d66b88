"""What a model says about each test image. Intervals and the counts of pairs of classes are made of it.

Like the list of mistakes it is gathered in the pass over the test split. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from components.base.arrays import Array
from components.evaluator.gathered import GatheredPredictions, compress_table
from components.tasks.multilabel.mistakes import SEPARATOR

# The most decisions that are kept, so that a large split does not fill the memory: 5 bytes each.
MOST_DECISIONS = 8_000_000
COLUMNS = ("image", "true", "predicted")


@dataclasses.dataclass
class Predictions(GatheredPredictions):
    """Answers of a model to all images of a split; at most MOST_DECISIONS are kept.

    Attributes:
        truth: Whether an image has a class, bool [N, classes].
        predicted: Whether it gets the label, likewise.
        probabilities: float32 [N, classes].
    """

    truth: Array = dataclasses.field(default_factory=lambda: np.zeros((0, 0), bool))
    predicted: Array = dataclasses.field(default_factory=lambda: np.zeros((0, 0), bool))
    probabilities: Array = dataclasses.field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def _are_too_many_with(self, other: Predictions) -> bool:
        return self.truth.size + other.truth.size > MOST_DECISIONS

    def _list_keys(self) -> Iterable[Any]:
        for name, truth, found in zip(self.images, self.truth, self.probabilities, strict=True):
            yield name, truth.tobytes(), found.tobytes()

    def format(self) -> bytes:
        """Return them as a compressed CSV table with the probability of each class."""
        rows = [
            (
                image,
                *(SEPARATOR.join(self.class_names[i] for i in np.flatnonzero(row)) for row in (true, found)),
                *(round(float(score), 6) if np.isfinite(score) else "" for score in scores),
            )
            for image, true, found, scores in zip(
                self.images, self.truth, self.predicted, self.probabilities, strict=True
            )
        ]
        return compress_table((*COLUMNS, *self.class_names), rows)
