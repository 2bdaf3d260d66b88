"""What a classifier says about each test image. The intervals and the calibration curve are made of it.

Like the list of mistakes it is gathered in the pass over the test split. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from components.base.arrays import Array
from components.evaluator.gathered import GatheredPredictions, compress_table
from components.tasks.classification.metrics import EPSILON, predict_classes

# The most images and probabilities that are kept, so that a large split does not fill the memory.
MOST_IMAGES, MOST_PROBABILITIES = 500_000, 1_000_000
COLUMNS = ("image", "true_class", "predicted_class", "score", "loss")


@dataclasses.dataclass
class Predictions(GatheredPredictions):
    """Answers of a classifier to all images of a split; at most MOST_IMAGES are kept.

    Attributes:
        labels: True classes, int [N].
        predicted: Predicted classes, int [N]; -1 where a probability is not a number.
        scores: Probabilities of the predicted classes, float32 [N]; -1 in the same case.
        losses: Cross-entropies in nats, float32 [N]; nan in the same case.
        probabilities: float32 [N, classes]; None if there were more than MOST_PROBABILITIES.
    """

    labels: Array = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    predicted: Array = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    scores: Array = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    losses: Array = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    probabilities: Array | None = None

    def _are_too_many_with(self, other: Predictions) -> bool:
        return len(self.images) + len(other.images) > MOST_IMAGES

    def _list_keys(self) -> Iterable[Any]:
        columns = (self.labels.tolist(), self.scores.tolist(), self.predicted.tolist())
        return zip(self.images, *columns, strict=True)

    def merge(self, other: Predictions) -> None:
        """Add predictions of the same model for other images."""
        super().merge(other)
        if len(self.images) * len(self.class_names) > MOST_PROBABILITIES:
            self.probabilities = None

    def format(self) -> bytes:
        """Return them as a compressed CSV table."""
        columns = (self.labels, self.predicted, self.scores, self.losses)
        rows = zip(self.images, *(column.tolist() for column in columns), strict=True)
        return compress_table(COLUMNS, (self._describe(*row) for row in rows))

    def _describe(
        self, image: str, true: int, predicted: int, score: float, loss: float
    ) -> tuple[object, ...]:
        if predicted < 0:
            return image, self.class_names[true], "", "", ""
        return image, self.class_names[true], self.class_names[predicted], round(score, 6), round(loss, 6)


def predict(
    class_names: tuple[str, ...], images: Sequence[str], labels: Array, probabilities: Array
) -> Predictions:
    """Return the predictions of a batch.

    Args:
        class_names: All classes, in the order of their labels.
        images: Names of the N images.
        labels: int [N].
        probabilities: float [N, classes].
    """
    labels, probabilities = np.asarray(labels, np.int64), np.asarray(probabilities, np.float32)
    predicted = predict_classes(probabilities)
    rows, are_numbers = np.arange(len(labels)), predicted >= 0
    clipped = np.clip(np.where(are_numbers[:, None], probabilities, 0.5), EPSILON, 1.0 - EPSILON)
    losses = np.log(clipped.sum(axis=1)) - np.log(clipped[rows, labels])
    return Predictions(
        class_names,
        list(images),
        labels,
        predicted,
        np.where(are_numbers, probabilities[rows, predicted], np.float32(-1.0)),
        np.where(are_numbers, losses, np.float32(np.nan)).astype(np.float32),
        probabilities if probabilities.size <= MOST_PROBABILITIES else None,
    )
