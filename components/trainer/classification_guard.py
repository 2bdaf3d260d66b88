"""The guard of a classifier: measured against always giving the shares of the classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from components.config import GuardConfig
from components.trainer.evidence import Mean, Share
from components.trainer.guard import EVALUATIONS, Guard, NotLearningError, Pace

if TYPE_CHECKING:
    from components.trainer.task import Evaluation

# Standard errors above chance from which on there may be knowledge.
_MAYBE = 2.0
# Who is this part of the way from chance to all right, at most, knows nothing: of train and of eval images.
_NO_SKILL, _NO_EVAL_SKILL = 0.1, 0.2
# From here on a network has learned its train images.
_SKILLED = 0.5
# What is as unlikely is no accident.
_UNLIKELY = 1e-3


@dataclasses.dataclass(frozen=True)
class Guessing:
    """What can be had without looking at an image.

    Attributes:
        loss: Cross-entropy of giving every image the classes' shares.
        shares: Of the classes, float [classes].
    """

    loss: float
    shares: np.ndarray[Any, Any]

    @property
    def accuracy(self) -> float:
        """Share of the largest class."""
        return float(self.shares.max())

    @staticmethod
    def on(labels: np.ndarray[Any, Any], num_classes: int, label_smoothing: float) -> Guessing:
        """Return what guessing gives on labels int [N]."""
        shares = np.bincount(labels, minlength=num_classes) / len(labels)
        smoothed = shares * (1 - label_smoothing) + label_smoothing / num_classes
        positive = smoothed[smoothed > 0]
        return Guessing(float(-(positive * np.log(positive)).sum()), shares)


class ClassificationGuard(Guard):
    """Knows of classes and accuracy too.

    Args:
        config: The recipe's `training.guard`.
        train: Guessing on what is trained on.
        evaluation: Guessing on what it is evaluated by.
        class_names: For messages.
        pace: How the stage goes on.
        num_train: Examples that are trained on.
    """

    def __init__(
        self,
        config: GuardConfig,
        train: Guessing,
        evaluation: Guessing,
        class_names: Sequence[str],
        pace: Pace | None = None,
        num_train: int = 1000,
    ):
        super().__init__(config, train.loss, pace)
        self._train, self._evaluation = train, evaluation
        self._class_names, self._num_train = class_names, num_train
        # Evaluations in a row, by their steps: that took all images for this class; that showed a gap.
        self._label, self._one_class = -1, list[int]()
        self._gap: list[int] = []
        self._has_generalised = False

    def _knows(self, metrics: Mapping[str, float], examples: int) -> bool | None:
        right = Share(metrics["accuracy"], self._train.accuracy, examples)
        if right.is_above_chance():
            return True
        return False if right.largest_skill < _NO_SKILL else None

    def _guessing(self) -> str:
        return (
            f"always guessing gives {self._train.loss:.4f}; always naming the most frequent class has "
            f"accuracy {self._train.accuracy:.4f}. Likely causes: training.learning_rate is too high (or far "
            "too low); labels have nothing to do with the images (a CSV in another order than the files, "
            "shuffled labels); images lost what matters in transform (height_px, width_px, normalization)"
        )

    def _check_evaluation(
        self, step: int, train: Mapping[str, float], evaluation: Evaluation, size: int, *, is_last: bool
    ) -> None:
        if self._evaluation.accuracy == 1:
            return
        predicted = evaluation.totals["predicted"]
        chance = float(self._evaluation.shares @ predicted) / size
        right = Share(evaluation.metrics["accuracy"], chance, size) if chance < 1 else None
        loss = Mean(evaluation.loss, evaluation.loss_error)
        is_known = loss.high < self._evaluation.loss or (right is not None and right.is_above_chance())
        self._has_generalised = self._has_generalised or is_known
        if right is None or is_known:
            self._one_class, self._gap = [], []
            return
        given = np.flatnonzero(predicted)
        if len(given) != 1 or given[0] != self._label:
            self._one_class = []
        if len(given) == 1:
            self._label = int(given[0])
            self._one_class.append(step)
        self._check_one_class(step, train["accuracy"], size)
        self._check_by_heart(step, train["accuracy"], right, is_last=is_last)

    def _lasts(self, steps: Sequence[int]) -> bool:
        """Return whether evaluations in a row, made after these steps, are enough to count."""
        least = (self._steps or 0) // 4
        return (
            len(steps) >= EVALUATIONS
            and steps[-1] - steps[0] >= least
            and steps[-1] >= self._wait_for_evaluations
        )

    def _check_one_class(self, step: int, train_accuracy: float, size: int) -> None:
        """Raise when all images are taken for one class, and that is no accident."""
        if not self._lasts(self._one_class):
            return
        label = self._label
        # With as many mistakes as on train images, no more are taken for this class.
        most = min(1.0, float(self._evaluation.shares[label]) + 1 - train_accuracy)
        said = (
            f"every one of the {size:,} eval images has been taken for {self._class_names[label]!r} in "
            f"{len(self._one_class)} evaluations (step {step}, train accuracy {train_accuracy:.4f})"
        )
        if most**size >= _UNLIKELY or self._has_generalised:
            self._warn(
                "one class", f"{said}; the training goes on, since the network may tell them apart yet"
            )
            return
        raise NotLearningError(
            f"{said}. Likely causes: training.learning_rate is too high; batch norm statistics that do not "
            "fit (too few steps or too small a batch); eval images that are unlike the train images"
        )

    def _check_by_heart(self, step: int, train_accuracy: float, right: Share, *, is_last: bool) -> None:
        """Raise when nothing of what is known of train images holds for eval images."""
        trained = Share(train_accuracy, self._train.accuracy, self._num_train)
        knows_nothing = right.largest_skill < _NO_EVAL_SKILL and not right.is_above_chance(_MAYBE)
        is_gap = trained.least_skill > right.largest_skill
        self._gap = [*self._gap, step] if knows_nothing and is_gap else []
        said = (
            f"train accuracy is {train_accuracy:.4f}, and on the {right.examples:,} eval images it is "
            f"{right.value:.4f}, where chance gives {right.chance:.4f}"
        )
        causes = (
            "Likely causes: labels have nothing to do with the images (a CSV in another order than the "
            "files, shuffled labels); far too few images; eval labels that mean something else than train "
            "labels"
        )
        if self._has_generalised or step < self._wait_for_evaluations:
            return
        if self._lasts(self._gap):
            raise NotLearningError(
                f"{said}, in {len(self._gap)} evaluations (step {step}): the network learns the train images "
                f"by heart and nothing that holds for others. {causes}"
            )
        if knows_nothing and is_last and self._first_step == 1:
            raise NotLearningError(
                f"{said}, after all {step} steps: nothing has been learned that holds for other images. "
                f"{causes}; training.epochs or training.learning_rate that are too low"
            )
        if trained.least_skill > _SKILLED and not right.is_above_chance(_MAYBE):
            self._warn(
                "by heart",
                f"{said}: too few eval images to tell whether anything is learned that holds for others; the "
                "training goes on. A larger eval split tells (data.splits)",
            )
