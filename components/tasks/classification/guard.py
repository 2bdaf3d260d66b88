"""The guard of a classifier: compares it with always answering the shares of the classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from components.base.arrays import Array
from components.trainer.config import GuardConfig
from components.trainer.evidence import SIGMAS, Share
from components.trainer.guard import EVALUATIONS, Guard, NotLearningError, Pace
from components.trainer.result import StageResult

# Standard errors above chance from which the network may have learned something.
_MAYBE = 2.0
# Standard errors that not even one of many evaluations is above chance by accident.
_EVER = 4.5
# A network that is at most this part of the way from chance to all right has learned nothing.
_NO_SKILL = 0.1
# The same, as long as nothing hints that it has learned something.
_HARDLY_ANY_SKILL = 0.2
# From here on a network has learned its train images.
_SKILLED = 0.5
# What is this unlikely is not an accident.
_UNLIKELY = 1e-3


@dataclasses.dataclass(frozen=True)
class Guessing:
    """The loss and accuracy of guessing, without looking at an image.

    Attributes:
        loss: Cross-entropy of giving every image the classes' shares, or the best answer to weighted classes.
        shares: The classes' shares, float [classes].
    """

    loss: float
    shares: Array

    @property
    def accuracy(self) -> float:
        """Share of the largest class."""
        return float(self.shares.max())

    @staticmethod
    def on(
        labels: Array,
        num_classes: int,
        label_smoothing: float,
        weights: Array | None = None,
    ) -> Guessing:
        """Return what guessing gives on labels int [N]; weights [classes] multiply the loss of each class."""
        shares = np.bincount(labels, minlength=num_classes) / len(labels)
        weighted = shares if weights is None else shares * weights
        weight = float(weighted.sum())
        smoothed = weighted / weight * (1 - label_smoothing) + label_smoothing / num_classes
        positive = smoothed[smoothed > 0]
        return Guessing(weight * float(-(positive * np.log(positive)).sum()), shares)


class ClassificationGuard(Guard):
    """The guard for classification: also checks accuracy and predicted classes.

    Args:
        config: The recipe's `training.guard`.
        train: Guessing on the train split.
        evaluation: Guessing on the eval split.
        class_names: For messages.
        pace: The stage's steps.
        num_train: Examples of the train split.
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
        # Evaluations in a row, by their steps, that took all images for this class.
        self._label, self._one_class = -1, list[int]()
        # What the last evaluation got right; None where that says nothing.
        self._right: Share | None = None

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

    def _look_at_evaluation(self, step: int, evaluation: StageResult, size: int) -> None:
        predicted = evaluation.totals["predicted"]
        self._right, self._generalises = None, False
        given = np.flatnonzero(predicted)
        if len(given) != 1 or given[0] != self._label:
            self._one_class = []
        if len(given) == 1:
            self._label = int(given[0])
            self._one_class.append(step)
        chance = float(self._evaluation.shares @ predicted) / size
        # With a single class, always naming it is always right.
        if self._evaluation.accuracy == 1 or chance == 1:
            return
        right = self._right = Share(evaluation.metrics["accuracy"], chance, size)
        for sigmas in (SIGMAS, _EVER):
            below = evaluation.loss + sigmas * evaluation.loss_error < self._evaluation.loss
            if below or right.is_above_chance(sigmas):
                self._generalises = True
                self._has_generalised = self._has_generalised or sigmas == _EVER

    def _check_evaluation(
        self, step: int, train: Mapping[str, float], evaluation: StageResult, size: int, *, is_last: bool
    ) -> None:
        if self._right is None or self._generalises or self._has_generalised or self._is_useful:
            return
        trained = Share(train["accuracy"], self._train.accuracy, self._num_train)
        if self._is_one_class(trained):
            self._end(
                "one class",
                f"every one of the {size:,} eval images has been taken for "
                f"{self._class_names[self._label]!r} in {len(self._one_class)} evaluations (step {step}, "
                f"train accuracy {trained.value:.4f})",
                "training.learning_rate is too high; batch norm statistics that do not fit (too few steps or "
                "too small a batch); eval images that are unlike the train images",
                is_last=is_last,
            )
        right = self._right
        said = (
            f"train accuracy is {trained.value:.4f}, and on the {size:,} eval images it is "
            f"{right.value:.4f}, where chance gives {right.chance:.4f}, after {step} steps"
        )
        causes = (
            "labels have nothing to do with the images (a CSV in another order than the files, shuffled "
            "labels); far too few images; eval labels that mean something else than train labels"
        )
        may_know = right.is_above_chance(_MAYBE)
        is_sure = right.largest_skill < _NO_SKILL
        knows_nothing = is_sure or (right.largest_skill < _HARDLY_ANY_SKILL and not may_know)
        if knows_nothing and trained.least_skill > right.largest_skill:
            said += ": the network overfits, it learns the train images and nothing that holds for others"
            self._end("overfits", said, causes, is_last=is_last)
        elif is_last and (is_sure or (knows_nothing and not trained.is_above_chance())):
            raise NotLearningError(
                f"{said}: nothing has been learned that holds for other images. Likely causes: {causes}; "
                "training.epochs or training.learning_rate that are too low"
            )
        elif (trained.least_skill > _SKILLED and not may_know) or is_last:
            self._warn(
                "unclear",
                f"{said}: too few images to tell whether anything is learned that holds for others; "
                "a larger eval split tells (data.splits)",
            )

    def _end(self, about: str, said: str, causes: str, *, is_last: bool) -> None:
        """Fail the training at its end; warn before, since what holds for others may still be learned."""
        if is_last:
            raise NotLearningError(f"{said}. Likely causes: {causes}")
        self._warn(about, f"{said}; training continues, and fails if that is so at its end. If so: {causes}")

    def _is_one_class(self, trained: Share) -> bool:
        """Return whether all eval images are taken for one class, and that is no accident."""
        steps = self._one_class
        if len(steps) < EVALUATIONS or steps[-1] - steps[0] < (self._steps or 0) // 4:
            return False
        # A network that only names the largest class does not tell train images apart.
        if trained.least_skill <= 0:
            return False
        # With as many mistakes as on train images, no more eval images are taken for this class.
        most = min(1.0, float(self._evaluation.shares[self._label]) + 1 - trained.value)
        return bool(most**self._right.examples < _UNLIKELY) if self._right else False
