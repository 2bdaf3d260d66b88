"""The guard of a detector: stops what finds nothing."""

from __future__ import annotations

from collections.abc import Mapping

from components.config import GuardConfig
from components.trainer.guard import Guard, NotLearningError
from components.trainer.task import Evaluation

# A loss that is this share of what it was falls, however high it is.
_FALLING = 0.99
# Evaluations in a row without a hit, after `guard.steps`.
_EVALUATIONS = 2


class DetectionGuard(Guard):
    """Measured against who gives every anchor of every image the same answer.

    Args:
        config: The recipe's `training.guard`.
        guessing_loss: The loss of that answer, the best there is.
    """

    def __init__(self, config: GuardConfig, guessing_loss: float):
        super().__init__(config, guessing_loss)
        self._without_a_hit = 0

    def _check_guessing(self, number: int, loss: float, metrics: Mapping[str, float], examples: int) -> None:
        losses = [loss for loss, _, _ in self._recent]
        half = len(losses) // 2
        if sum(losses[-half:]) < _FALLING * sum(losses[:half]):
            return
        known = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in metrics.items())
        raise NotLearningError(
            f"no better than guessing for {len(self._recent)} steps (up to step {number}): loss {loss:.4f} "
            f"({known}), the same answer for every place of every image gives {self._guessing_loss:.4f}. "
            "Likely causes: training.learning_rate is too high (or far too low); boxes have nothing to do "
            "with the images (annotations of other files, x and y changed, pixels taken for shares); images "
            "lost what matters in transform (height_px, width_px, normalization). training.guard.steps sets "
            "how long to wait"
        )

    def epoch(self, step: int, train: Mapping[str, float], evaluation: Evaluation, size: int) -> None:
        """Looks whether anything at all is found.

        Raises:
            NotLearningError: With a diagnosis.
        """
        found = evaluation.metrics.get("map_50")
        if self._steps is None or found is None:
            return
        self._without_a_hit = self._without_a_hit + 1 if found == 0 else 0
        if step >= self._steps and self._without_a_hit >= _EVALUATIONS:
            raise NotLearningError(
                f"not one box of the {size:,} eval images has been found in {self._without_a_hit} "
                f"evaluations (step {step}, eval loss {evaluation.loss:.4f}). Likely causes: boxes are far "
                "smaller or larger than the anchors (model.detection.min_scale and max_scale); "
                "training.learning_rate is too high; eval images that are unlike the train images"
            )
