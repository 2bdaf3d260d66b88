"""The guard: stops a training that learns nothing, and says what was seen and what the likely causes are.

What learning nothing means is measured against who always guesses: the loss of a network that gives every
image the classes' shares, and the share of the largest class.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from components.config import GuardConfig
from components.errors import MiranteError

if TYPE_CHECKING:
    from components.trainer.task import Evaluation

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
    """Watches one stage: what holds for every task.

    Args:
        config: The recipe's `training.guard`.
        guessing_loss: The loss of a network that gives every image the same answer, the best there is.
    """

    def __init__(self, config: GuardConfig, guessing_loss: float):
        self._steps = config.steps
        self._guessing_loss = guessing_loss
        # Loss, metrics and size of the last steps.
        self._recent: collections.deque[tuple[float, Mapping[str, float], int]] = collections.deque(
            maxlen=config.steps
        )
        self._first_losses: list[float] = []
        self._zero_gradients = 0

    def check_inputs(self, images: np.ndarray[Any, Any]) -> None:
        """Looks at some of what goes into the network: images [N, ...].

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

    def step(
        self, number: int, loss: float, metrics: Mapping[str, float], gradient_norm: float, size: int
    ) -> None:
        """Looks at one step: mean loss and metrics of its `size` examples, norm of all gradients.

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
        self._recent.append((loss, metrics, size))
        if number == len(self._first_losses) + 1 <= max(1, self._steps // _FIRST_PART):
            self._first_losses.append(loss)
        if len(self._recent) == self._steps and number % max(1, self._steps // 4) == 0:
            self._check_recent(number)

    def _check_recent(self, number: int) -> None:
        """Looks at the last `guard.steps` steps."""
        loss = float(np.mean([loss for loss, _, _ in self._recent]))
        sizes = [size for _, _, size in self._recent]
        metrics = {
            name: float(np.average([values[name] for _, values, _ in self._recent], weights=sizes))
            for name in self._recent[0][1]
        }
        if loss >= _LOSS_SHARE * self._guessing_loss:
            self._check_guessing(number, loss, metrics, sum(sizes))
        began = float(np.mean(self._first_losses)) if self._first_losses else math.inf
        if loss >= max(_LOSS_SHARE * began, _LEARNED_SHARE * self._guessing_loss):
            known = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            raise NotLearningError(
                f"loss does not move: {began:.4f} in the first {len(self._first_losses)} steps, {loss:.4f} "
                f"in the {len(sizes)} up to step {number} ({known}). Likely causes: "
                "training.learning_rate is far too low, or too high; the layers that would have to learn are "
                "frozen. training.guard.steps sets how long to wait"
            )

    def _check_guessing(self, number: int, loss: float, metrics: Mapping[str, float], examples: int) -> None:
        """The last steps' loss, over so many examples, is that of guessing: raises if nothing is known."""

    def epoch(self, step: int, train: Mapping[str, float], evaluation: Evaluation, size: int) -> None:
        """Looks at the evaluation of `size` examples after a step, and at the metrics of the epoch before.

        Raises:
            NotLearningError: With a diagnosis.
        """

    def _not_finite(self, number: int, loss: float, gradient_norm: float) -> str:
        before = [seen for seen, _, _ in self._recent][-5:]
        course = ", ".join(f"{value:.4g}" for value in before) or "none, it is the first"
        return (
            f"loss is {loss} at step {number} (steps before: {course}; gradient norm {gradient_norm:.3g}). "
            "Likely causes: training.learning_rate is too high: try a tenth of it, or "
            "training.warmup_epochs; pixels far outside of the range that the network expects "
            "(transform.normalization); in mixed_float16 an overflow: try mixed_bfloat16"
        )


class ClassificationGuard(Guard):
    """Knows of classes and accuracy too.

    Args:
        config: The recipe's `training.guard`.
        train: Guessing on what is trained on.
        evaluation: Guessing on what it is evaluated by.
        class_names: For messages.
    """

    def __init__(
        self, config: GuardConfig, train: Guessing, evaluation: Guessing, class_names: Sequence[str]
    ):
        super().__init__(config, train.loss)
        self._train, self._evaluation = train, evaluation
        self._class_names = class_names
        self._one_class: list[int] = []
        self._memorised = 0

    def _check_guessing(self, number: int, loss: float, metrics: Mapping[str, float], examples: int) -> None:
        if not self._train.is_no_better(metrics["accuracy"], examples):
            return
        raise NotLearningError(
            f"no better than guessing for {len(self._recent)} steps (up to step {number}): loss {loss:.4f}, "
            f"always guessing gives {self._train.loss:.4f}; accuracy {metrics['accuracy']:.4f}, always "
            f"naming the most frequent class gives {self._train.accuracy:.4f}. Likely causes: "
            "training.learning_rate is too high (or far too low); labels have nothing to do with the "
            "images (a CSV in another order than the files, shuffled labels); images lost what matters "
            "in transform (height_px, width_px, normalization). training.guard.steps sets how long to "
            "wait"
        )

    def epoch(self, step: int, train: Mapping[str, float], evaluation: Evaluation, size: int) -> None:
        """Looks for one class that all are taken for, and for what is learned by heart.

        Raises:
            NotLearningError: With a diagnosis.
        """
        if self._steps is None:
            return
        train_accuracy, eval_accuracy = train["accuracy"], evaluation.metrics["accuracy"]
        given = np.flatnonzero(evaluation.totals["predicted"])
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
