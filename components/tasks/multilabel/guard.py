"""The guard of multilabel classification: compares it with one answer for every image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from components.base.arrays import Array
from components.evaluator.bounds import NO, YES
from components.evaluator.probability_levels import Levels
from components.tasks.multilabel.trivial import judge_trivial
from components.trainer.config import GuardConfig
from components.trainer.evidence import SIGMAS
from components.trainer.guard import Guard, NotLearningError, Pace
from components.trainer.result import StageResult


def find_guessing_loss(labels: Array, label_smoothing: float) -> float:
    """Return the loss of giving every image the classes' shares: labels float [N, classes]."""
    shares = labels.mean(axis=0) * (1 - label_smoothing) + label_smoothing / 2
    inside = shares[(shares > 0) & (shares < 1)]
    entropy = -(inside * np.log(inside) + (1 - inside) * np.log1p(-inside))
    return float(entropy.sum() / len(shares))


def find_areas(labels: Array, probabilities: Array) -> list[tuple[float, int, int]]:
    """Return area under the ROC curve, images and other images of each class that has both."""
    truth = labels > 0.5
    levels = Levels(truth.shape[1])
    levels.add(truth, probabilities, np.isfinite(probabilities).all(axis=1))
    counts = truth.sum(axis=0).tolist()
    areas = [(levels.find_area(label), count) for label, count in enumerate(counts)]
    return [(area, count, len(truth) - count) for area, count in areas if area is not None]


class MultilabelGuard(Guard):
    """The guard for any number of classes for each image: also checks how eval images are ranked.

    Args:
        config: The recipe's `training.guard`.
        guessing_loss: The loss of the classes' shares on the train split.
        eval_labels: Labels of the eval split, float [N, classes].
        eval_guessing_loss: The loss of the eval split's own shares on it.
        pace: The stage's steps.
    """

    def __init__(
        self,
        config: GuardConfig,
        guessing_loss: float,
        eval_labels: Array,
        eval_guessing_loss: float,
        pace: Pace | None = None,
    ):
        super().__init__(config, guessing_loss, pace)
        self._eval_labels, self._eval_guessing_loss = eval_labels, eval_guessing_loss
        self._is_no_better = False

    def _knows(self, metrics: Mapping[str, float], examples: int) -> bool | None:
        return self._generalises

    def _guessing(self) -> str:
        return (
            f"giving every image the shares of the classes gives {self._guessing_loss:.4f}. Likely causes: "
            "training.learning_rate is too high (or far too low); labels have nothing to do with the images "
            "(a CSV in another order than the files, shuffled labels); images lost what matters in transform "
            "(height_px, width_px, normalization)"
        )

    def _look_at_evaluation(self, step: int, evaluation: StageResult, size: int) -> None:
        probabilities = evaluation.predictions["probabilities"]
        verdict = judge_trivial(find_areas(self._eval_labels[evaluation.rows], probabilities))
        below = evaluation.loss + SIGMAS * evaluation.loss_error < self._eval_guessing_loss
        self._generalises = below or verdict == YES
        self._has_generalised = self._has_generalised or self._generalises
        self._is_no_better = verdict == NO

    def _check_evaluation(
        self, step: int, train: Mapping[str, float], evaluation: StageResult, size: int, *, is_last: bool
    ) -> None:
        if self._generalises or self._is_useful or not is_last:
            return
        said = (
            f"eval loss is {evaluation.loss:.4f} after {step} steps, giving all of the {size:,} eval images "
            f"the shares of the classes gives {self._eval_guessing_loss:.4f}, and images with a class have "
            "no higher probabilities of it than others"
        )
        if self._is_no_better:
            raise NotLearningError(
                f"{said}: nothing has been learned that holds for other images. Likely causes: labels have "
                "nothing to do with the images (a CSV in another order than the files, shuffled labels); far "
                "too few images; training.epochs or training.learning_rate that are too low"
            )
        self._warn(
            "unclear",
            f"{said}: too few images to tell whether anything is learned that holds for others; a larger "
            "eval split tells (data.splits)",
        )
