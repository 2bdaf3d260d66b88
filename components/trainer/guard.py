"""The guard: stops a training that learns nothing, and says what was seen and what the likely causes are.

What learning nothing means is measured against who always guesses: the loss of a network that gives every
image the classes' shares, and the share of the largest class.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from components.config import GuardConfig
from components.errors import MiranteError

# Standard deviations that separate luck from knowledge.
_SIGMAS = 3.0
# A loss within 1 % of guessing is that of guessing.
_LOSS_SHARE = 0.99
# The first tenth of the steps that are waited for tells where it began.
_FIRST_PART = 10
# Below this share of guessing something has been learned, here or before.
_LEARNED_SHARE = 0.5
# Evaluations in a row that must look alike before they count.
_EVALUATIONS = 2
# Below this deviation between images no pixel differs.
_CONSTANT = 1e-6


class NotLearningError(MiranteError):
    """Training was stopped: it does not learn."""


@dataclasses.dataclass(frozen=True)
class Guessing:
    """What can be had without looking at an image.

    Attributes:
        loss: Cross-entropy of giving every image the classes' shares.
        accuracy: Share of the largest class.
    """

    loss: float
    accuracy: float

    @staticmethod
    def on(labels: np.ndarray[Any, Any], num_classes: int, label_smoothing: float) -> Guessing:
        """Of labels int [N]."""
        shares = np.bincount(labels, minlength=num_classes) / len(labels)
        smoothed = shares * (1 - label_smoothing) + label_smoothing / num_classes
        positive = smoothed[smoothed > 0]
        return Guessing(float(-(positive * np.log(positive)).sum()), float(shares.max()))

    def is_no_better(self, accuracy: float, examples: int) -> bool:
        """Whether so good an accuracy over so many examples may be luck."""
        sigma = math.sqrt(self.accuracy * (1 - self.accuracy) / examples)
        return accuracy <= self.accuracy + _SIGMAS * sigma


class Guard:
    """Watches one stage.

    Args:
        config: The recipe's `training.guard`.
        train: Guessing on what is trained on.
        evaluation: Guessing on what it is evaluated by.
        class_names: For messages.
    """

    def __init__(
        self, config: GuardConfig, train: Guessing, evaluation: Guessing, class_names: Sequence[str]
    ):
        self._steps = config.steps
        self._train, self._evaluation = train, evaluation
        self._class_names = class_names
        self._recent: collections.deque[tuple[float, float, int]] = collections.deque(maxlen=config.steps)
        self._first_losses: list[float] = []
        self._zero_gradients = 0
        self._one_class: list[int] = []
        self._memorised = 0

    def check_inputs(self, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
        """Looks at some of what goes into the network: images [N, ...] and labels int [N].

        Raises:
            NotLearningError: There is nothing in them to learn from.
        """
        if not np.isfinite(images).all():
            share = 1 - np.isfinite(images).mean()
            raise NotLearningError(
                f"{share:.1%} of the values of the first images are NaN or infinite: transform.normalization "
                "divides by a deviation of 0, or an augmentation is at fault"
            )
        if len(images) > 1 and float(images.std(axis=0).max()) < _CONSTANT:
            raise NotLearningError(
                f"the first {len(images)} images are all alike after Transform (every value is that of the "
                f"first image, {images.min():.3g} to {images.max():.3g}). Likely causes: the files are "
                "copies of one picture, an export wrote blank pictures, or transform.channels drops what "
                "differs"
            )

    def step(self, number: int, loss: float, accuracy: float, gradient_norm: float, size: int) -> None:
        """Looks at one step: mean loss and accuracy of its `size` examples, norm of all gradients.

        Raises:
            NotLearningError: With a diagnosis.
        """
        if not math.isfinite(loss):
            raise NotLearningError(self._not_finite(number, loss, gradient_norm))
        if self._steps is None:
            return
        self._zero_gradients = self._zero_gradients + 1 if gradient_norm == 0 else 0
        if self._zero_gradients >= min(self._steps, 20):
            raise NotLearningError(
                f"all gradients have been 0 for {self._zero_gradients} steps (step {number}, loss "
                f"{loss:.4f}): nothing can change any more. Likely causes: ReLUs that died by too high a "
                "training.learning_rate, all layers frozen, pixels far outside of the range that the network "
                "expects (transform.normalization)"
            )
        self._recent.append((loss, accuracy, size))
        if number == len(self._first_losses) + 1 <= max(1, self._steps // _FIRST_PART):
            self._first_losses.append(loss)
        if len(self._recent) == self._steps and number % max(1, self._steps // 4) == 0:
            self._check_recent(number)

    def _check_recent(self, number: int) -> None:
        losses, accuracies, sizes = (np.array(values) for values in zip(*self._recent, strict=True))
        loss, accuracy = float(losses.mean()), float(np.average(accuracies, weights=sizes))
        stuck = loss >= _LOSS_SHARE * self._train.loss
        if stuck and self._train.is_no_better(accuracy, int(sizes.sum())):
            raise NotLearningError(
                f"no better than guessing for {len(losses)} steps (up to step {number}): loss {loss:.4f}, "
                f"always guessing gives {self._train.loss:.4f}; accuracy {accuracy:.4f}, always naming the "
                f"most frequent class gives {self._train.accuracy:.4f}. Likely causes: "
                "training.learning_rate is too high (or far too low); labels have nothing to do with the "
                "images (a CSV in another order than the files, shuffled labels); images lost what matters "
                "in transform (height_px, width_px, normalization). training.guard.steps sets how long to "
                "wait"
            )

        began = float(np.mean(self._first_losses)) if self._first_losses else math.inf
        if loss >= max(_LOSS_SHARE * began, _LEARNED_SHARE * self._train.loss):
            raise NotLearningError(
                f"loss does not move: {began:.4f} in the first {len(self._first_losses)} steps, {loss:.4f} "
                f"in the {len(losses)} up to step {number} (accuracy {accuracy:.4f}). Likely causes: "
                "training.learning_rate is far too low, or too high; the layers that would have to learn are "
                "frozen. training.guard.steps sets how long to wait"
            )

    def _not_finite(self, number: int, loss: float, gradient_norm: float) -> str:
        before = [seen for seen, _, _ in self._recent][-5:]
        course = ", ".join(f"{value:.4g}" for value in before) or "none, it is the first"
        return (
            f"loss is {loss} at step {number} (steps before: {course}; gradient norm {gradient_norm:.3g}). "
            "Likely causes: training.learning_rate is too high: try a tenth of it, or "
            "training.warmup_epochs; pixels far outside of the range that the network expects "
            "(transform.normalization); in mixed_float16 an overflow: try mixed_bfloat16"
        )

    def epoch(
        self,
        step: int,
        train_accuracy: float,
        eval_accuracy: float,
        predicted: np.ndarray[Any, Any],
        size: int,
    ) -> None:
        """Looks at an evaluation: accuracies, and how often each class was predicted, int [classes].

        Raises:
            NotLearningError: With a diagnosis.
        """
        if self._steps is None:
            return
        given = np.flatnonzero(predicted)
        one_class = len(given) == 1 and self._evaluation.accuracy < 1
        self._one_class = [*self._one_class, int(given[0])] if one_class else []
        memorised = (
            train_accuracy >= self._train.accuracy + 0.5 * (1 - self._train.accuracy)
            and self._train.accuracy < 0.9
            and self._evaluation.is_no_better(eval_accuracy, size)
        )
        self._memorised = self._memorised + 1 if memorised else 0
        if step < self._steps:
            return
        if len(self._one_class) >= _EVALUATIONS:
            name = self._class_names[self._one_class[-1]]
            raise NotLearningError(
                f"every one of the {size:,} eval images has been taken for {name!r} in "
                f"{len(self._one_class)} evaluations (step {step}, train accuracy {train_accuracy:.4f}). "
                "Likely causes: training.learning_rate is too high; one class is far more frequent than the "
                "others; batch norm statistics that do not fit (too few steps or too small a batch); eval "
                "images that are unlike the train images"
            )
        if self._memorised >= _EVALUATIONS:
            raise NotLearningError(
                f"train accuracy is {train_accuracy:.4f}, and on the {size:,} eval images it is "
                f"{eval_accuracy:.4f}, no better than guessing ({self._evaluation.accuracy:.4f}), in "
                f"{self._memorised} evaluations (step {step}): the network learns the train images by heart "
                "and nothing that holds for others. Likely causes: labels have nothing to do with the images "
                "(a CSV in another order than the files, shuffled labels); far too few images; eval labels "
                "that mean something else than train labels"
            )
