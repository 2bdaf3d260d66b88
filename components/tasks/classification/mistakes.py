"""The test images that a classifier gets wrong, the most confident mistakes first.

They are gathered in the pass over the test split that counts the confusion matrix, so their number is the
number of images outside of its diagonal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from components.base.arrays import Array
from components.base.table import format_table
from components.evaluator.gathered import GatheredMistakes
from components.tasks.classification.metrics import predict_classes

# The small images of the worst ones with heat maps, in the evaluation's folder.
HEAT_FOLDER = "heat"
COLUMNS = ("image", "true_class", "predicted_class", "score")
# The class and score of an image whose probabilities are not all numbers.
_NONE = -1


@dataclasses.dataclass
class Mistakes(GatheredMistakes):
    """Mistakes of a classifier; `listed` has score, image, true class and predicted class, by label."""

    def add(
        self, class_names: tuple[str, ...], images: Sequence[str], labels: Array, probabilities: Array
    ) -> None:
        """Add the mistakes of a batch.

        Args:
            class_names: All classes, in the order of their labels.
            images: Names of the N images.
            labels: int [N].
            probabilities: float [N, classes].
        """
        self.class_names = class_names
        predicted = predict_classes(probabilities)
        for row in np.flatnonzero(predicted != labels).tolist():
            label = int(predicted[row])
            score = float(_NONE) if label == _NONE else float(probabilities[row, label])
            self.append(score, images[row], int(labels[row]), label)
        self.cut()

    def format(self) -> str:
        """Return them as a CSV table, the score being the probability of the predicted class."""
        return format_table(
            COLUMNS,
            [
                (image, self.class_names[true], *self._describe(predicted, score))
                for score, image, true, predicted in self.listed
            ],
        )

    def _describe(self, predicted: int, score: float) -> tuple[str, object]:
        return ("", "") if predicted == _NONE else (self.class_names[predicted], round(score, 6))
