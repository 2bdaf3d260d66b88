"""The test images with wrong classes, the least likely answers first.

They are gathered in the pass over the test split that counts the metrics, so their number is that of the
images without `subset_accuracy`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from components.base.arrays import Array
from components.base.table import format_table
from components.evaluator.gathered import GatheredMistakes
from components.tasks.multilabel.metrics import find_losses, judge_predicted

COLUMNS = ("image", "true", "predicted", "missed", "false", "loss")
# Between the names of classes.
SEPARATOR = "; "
# The loss of an image whose probabilities are not all numbers: it comes first.
_NO_LOSS = 1e9


@dataclasses.dataclass
class Mistakes(GatheredMistakes):
    """Images with wrong classes; `listed` has loss, image, true and predicted classes, by label."""

    def add(
        self,
        class_names: tuple[str, ...],
        images: Sequence[str],
        truth: Array,
        predicted: Array,
        probabilities: Array,
    ) -> None:
        """Add the mistakes of a batch.

        Args:
            class_names: All classes, in the order of their labels.
            images: Names of the N images.
            truth: bool [N, classes].
            predicted: Likewise.
            probabilities: float [N, classes].
        """
        self.class_names = class_names
        are_numbers = np.isfinite(probabilities).all(axis=1)
        counted = judge_predicted(truth, predicted, are_numbers)
        losses = np.where(
            are_numbers,
            find_losses(truth, np.where(are_numbers[:, None], probabilities, 0.5)).mean(axis=1),
            _NO_LOSS,
        )
        for row in np.flatnonzero((truth != counted).any(axis=1)).tolist():
            shown = predicted[row] if are_numbers[row] else np.zeros_like(predicted[row])
            true, found = np.flatnonzero(truth[row]).tolist(), np.flatnonzero(shown).tolist()
            # Rounded as float32, so that equal answers are equal on every machine.
            self.append(float(np.float32(losses[row])), images[row], true, found)
        self.cut()

    def format(self) -> str:
        """Return them as a CSV table."""
        return format_table(COLUMNS, [self._describe(*item) for item in self.listed])

    def _describe(
        self, loss: float, image: str, true: Sequence[int], found: Sequence[int]
    ) -> tuple[object, ...]:
        missed = [label for label in true if label not in found]
        false = [label for label in found if label not in true]
        named = (SEPARATOR.join(self.class_names[i] for i in part) for part in (true, found, missed, false))
        return image, *named, "" if loss == _NO_LOSS else round(loss, 6)
