"""The test images that a classifier gets wrong, the most confident mistakes first.

They are gathered in the pass over the test split that counts the confusion matrix, so their number is the
number of images outside of its diagonal.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np

from components.base.arrays import Array
from components.base.table import format_table
from components.tasks.classification.metrics import predict_classes

# The name under which TFMA's results have them, as bytes.
MISTAKES = "mistakes"
# The small images of some of them, in the evaluation's folder.
FOLDER = "mistakes"
# Those of the worst ones with heat maps.
HEAT_FOLDER = "heat"
COLUMNS = ("image", "true_class", "predicted_class", "score")
# The most mistakes that are listed, so that a bad model on a large split does not fill the memory.
MOST_LISTED = 100_000
# The class and score of an image whose probabilities are not all numbers.
_NONE = -1


@dataclasses.dataclass
class Mistakes:
    """Mistakes of a model.

    Attributes:
        class_names: All classes, in the order of their labels; empty before the first batch.
        total: Number of mistakes.
        listed: The most confident ones: score, image, true class and predicted class, by label.
    """

    class_names: tuple[str, ...] = ()
    total: int = 0
    listed: list[tuple[float, str, int, int]] = dataclasses.field(default_factory=list)

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
            self.listed.append((score, images[row], int(labels[row]), label))
            self.total += 1
        self._cut(2 * MOST_LISTED)

    def merge(self, other: Mistakes) -> None:
        """Add other mistakes of the same model."""
        self.class_names = self.class_names or other.class_names
        self.total += other.total
        self.listed += other.listed
        self._cut(2 * MOST_LISTED)

    def _cut(self, most: int) -> None:
        if len(self.listed) > most:
            # The same ones in any order of the batches.
            self.listed.sort(key=lambda item: (-item[0], *item[1:]))
            del self.listed[MOST_LISTED:]

    def to_bytes(self) -> bytes:
        """Return them for TFMA's results."""
        self._cut(0)
        return json.dumps(dataclasses.asdict(self)).encode()

    @staticmethod
    def from_bytes(stored: bytes) -> Mistakes:
        """Return what `to_bytes` made."""
        read = json.loads(stored)
        return Mistakes(tuple(read["class_names"]), read["total"], [tuple(item) for item in read["listed"]])

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
