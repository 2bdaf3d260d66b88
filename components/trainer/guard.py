"""The guard: stops a training that learns nothing, and says what was seen and what the likely causes are.

It stops when the numbers prove it (components/trainer/evidence.py), and only warns when they do not. In the
middle of a training only what no further step can mend is a proof. A loss at that of guessing is no proof:
some problems start with such a plateau, however long. It is judged at the end of the training.
docs/training.md has the rules; `make bench-guard` tries them on trainings of both kinds.
"""

import collections
import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np

from components.base.arrays import Array
from components.base.errors import MiranteError
from components.trainer.config import GuardConfig
from components.trainer.evidence import Mean
from components.trainer.result import StageResult

logger = logging.getLogger("mirante.trainer")

# A loss of at least this share of the loss of guessing is as bad as guessing.
_AS_BAD = 0.95
# A loss of this many times the loss of guessing has diverged: a plateau is near 1, since a constant answer is
# learned first.
_DIVERGED = 2.0
# Larger losses, as multiples of that of guessing, count as this: a few say nothing about the others.
_LARGEST = 3.0
# The guard waits for at least this share of a stage.
_WAITED_SHARE = 1 / 5
# The most steps to remember.
_REMEMBERED = 20_000
# Evaluations in a row that must look alike before they count.
EVALUATIONS = 2
# Gradients may be 0 where the loss is below this share of guessing: all is learned.
_ALL_LEARNED = 0.01
# Steps in a row with gradients of 0.
_ZERO_GRADIENTS = 20
# Weights that changed by less than this share count as unchanged.
_UNCHANGED = 1e-5
# Below this deviation between images no pixel differs.
_CONSTANT = 1e-6


class NotLearningError(MiranteError):
    """Training was stopped: it does not learn."""


@dataclasses.dataclass(frozen=True)
class Pace:
    """The steps of a stage, as far as they are known before it.

    Attributes:
        total_steps: Its steps.
        warmup_steps: Those in which the rate rises.
        settle_steps: Until the statistics of batch norms are those of the weights; evaluations say nothing
            before.
        keeps_best: Whether the weights of the best epoch are kept: what was learned once is not lost.
        rate_falls: Whether the rate falls until the end: what diverged may recover.
    """

    total_steps: int = 0
    warmup_steps: int = 0
    settle_steps: int = 0
    keeps_best: bool = False
    rate_falls: bool = False


class Guard:
    """Watches one stage: what holds for every task.

    Args:
        config: The recipe's `training.guard`.
        guessing_loss: The loss of a network that gives every image the same answer, the best there is.
        pace: The stage's steps.
    """

    def __init__(self, config: GuardConfig, guessing_loss: float, pace: Pace | None = None):
        self._steps = config.steps
        self._pace = pace or Pace()
        self._guessing_loss = guessing_loss
        # Loss, metrics and size of the last steps.
        self._recent: collections.deque[tuple[float, Mapping[str, float], int]] = collections.deque(
            maxlen=max(_REMEMBERED, config.steps or 0)
        )
        self._first_step = 0
        self._zero_gradients = 0
        self._no_numbers = 0
        # Whether the last evaluation, or any, proves that something holds for other images.
        self._generalises = self._has_generalised = False
        self._warned: set[str] = set()

    @property
    def _least(self) -> int:
        """Steps before the end of a training is judged."""
        return (self._steps or 0) + self._pace.warmup_steps

    @property
    def _wait(self) -> int:
        """Steps before nothing is judged in the middle of a training."""
        return max(self._least, math.ceil(_WAITED_SHARE * self._pace.total_steps))

    @property
    def _is_useful(self) -> bool:
        """True if the weights that the training ends with have learned something, or may have."""
        resumed = self._first_step > 1
        return self._generalises or (self._pace.keeps_best and (self._has_generalised or resumed))

    def check_inputs(self, images: Array) -> None:
        """Look at some of what goes into the network: images [N, ...].

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
                "copies of one image, an export wrote blank images, or transform.channels drops what "
                "differs"
            )

    def step(
        self, number: int, loss: float, metrics: Mapping[str, float], gradient_norm: float, size: int
    ) -> None:
        """Look at one step: mean loss and metrics of its `size` examples, norm of all gradients.

        Raises:
            NotLearningError: With a diagnosis.
        """
        if not math.isfinite(loss):
            raise NotLearningError(self._not_finite(number, loss, gradient_norm))
        if self._steps is None:
            return
        self._first_step = self._first_step or number
        self._recent.append((loss, metrics, size))
        self._check_gradients(number, gradient_norm)
        if number >= self._wait and number % max(1, self._steps // 4) == 0:
            self._check_recent(number, is_last=False)

    def epoch(
        self,
        step: int,
        train: Mapping[str, float],
        evaluation: StageResult,
        size: int,
        *,
        change: float = math.inf,
        is_last: bool = False,
    ) -> None:
        """Look at the evaluation of `size` examples after a step, and at the metrics of the epoch before.

        Args:
            step: The number of the last step.
            train: `loss` and the task's metrics, means of the epoch.
            evaluation: The evaluation's result.
            size: The number of its examples.
            change: How far the weights are from those that this process started with, as a share.
            is_last: Whether the training ends with this evaluation.

        Raises:
            NotLearningError: With a diagnosis.
        """
        self._no_numbers = 0 if math.isfinite(evaluation.loss) else self._no_numbers + 1
        if self._no_numbers >= EVALUATIONS:
            raise NotLearningError(
                f"eval loss is {evaluation.loss} in {self._no_numbers} evaluations (step {step}), though the "
                "train loss is a number. Likely causes: batch norm statistics that overflowed by too high a "
                "training.learning_rate; pixels of eval images far outside of those of train images; in "
                "mixed_float16 an overflow: try mixed_bfloat16"
            )
        if self._steps is None or self._no_numbers:
            return
        if step >= self._wait and self._first_step == 1 and change < _UNCHANGED:
            raise NotLearningError(
                f"the weights are those that the training began with: after {step} steps they have changed "
                f"by {change:.1g} of what they were (train loss {train['loss']:.4f}). Likely causes: "
                "training.learning_rate (or fine_tune_learning_rate) is far too low; the layers that would "
                "have to learn are frozen"
            )
        self._look_at_evaluation(step, evaluation, size)
        if is_last and step >= self._least:
            self._check_recent(step, is_last=True)
        if step >= max(self._least if is_last else self._wait, self._pace.settle_steps):
            self._check_evaluation(step, train, evaluation, size, is_last=is_last)

    def _check_gradients(self, number: int, norm: float) -> None:
        self._zero_gradients = self._zero_gradients + 1 if norm == 0 else 0
        if self._zero_gradients < min(self._steps or 1, _ZERO_GRADIENTS):
            return
        loss = float(np.mean([loss for loss, _, _ in list(self._recent)[-self._zero_gradients :]]))
        if loss < _ALL_LEARNED * self._guessing_loss:
            return
        raise NotLearningError(
            f"all gradients have been 0 for {self._zero_gradients} steps (step {number}, loss "
            f"{loss:.4f}): nothing can change any more. Likely causes: ReLUs that died by too high a "
            "training.learning_rate, all layers frozen, pixels far outside of the range that the network "
            "expects (transform.normalization)"
        )

    def _check_recent(self, number: int, *, is_last: bool) -> None:
        """Look at the last steps, at more and more of them until they prove something."""
        seen = list(self._recent)
        if self._steps is None or len(seen) < self._steps or self._is_useful:
            return
        size, loss = max(1, self._steps // 2), math.inf
        while 2 * size <= len(seen):
            recent = seen[-size:]
            mean = self._mean_loss(recent)
            loss = mean.value
            examples = sum(size for _, _, size in recent)
            metrics = {
                name: float(np.average([m[name] for _, m, _ in recent], weights=[n for _, _, n in recent]))
                for name in recent[0][1]
            }
            knows = self._knows(metrics, examples)
            if knows or mean.high < self._guessing_loss:
                return
            known = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in metrics.items())
            said = f"for {size} steps (up to step {number}): loss {loss:.4f} ({known}), {self._guessing()}"
            if is_last and knows is False and mean.low >= _AS_BAD * self._guessing_loss:
                raise NotLearningError(f"no better than guessing {said}")
            has_diverged = mean.low >= _DIVERGED * self._guessing_loss and not self._pace.rate_falls
            if has_diverged and knows is False and not self._is_falling():
                raise NotLearningError(
                    f"far worse than guessing {said}. training.guard.steps sets how long to wait"
                )
            size *= 2
        self._warn(
            "guessing",
            f"up to step {number} the loss, {loss:.4f}, is not below that of guessing, "
            f"{self._guessing_loss:.4f}; training continues, since it may still learn, and fails if that is "
            "so at its end",
        )

    def _mean_loss(self, steps: Sequence[tuple[float, Mapping[str, float], int]]) -> Mean:
        return Mean.of([loss for loss, _, _ in steps], _LARGEST * self._guessing_loss)

    def _is_falling(self) -> bool:
        """Return whether the loss of the last steps, few or many, is below that of as many before."""
        logarithms = np.log(np.maximum([loss for loss, _, _ in self._recent], 1e-12))
        size = max(1, (self._steps or 2) // 2)
        while 2 * size <= len(logarithms):
            if Mean.of(logarithms[-size:]).is_below(Mean.of(logarithms[-2 * size : -size])):
                return True
            size *= 2
        return False

    def _knows(self, metrics: Mapping[str, float], examples: int) -> bool | None:
        """Return whether metrics, means over the examples, prove knowledge: True or False; else None."""
        raise NotImplementedError

    def _guessing(self) -> str:
        """Say what guessing gives, and the likely causes of being no better."""
        raise NotImplementedError

    def _look_at_evaluation(self, step: int, evaluation: StageResult, size: int) -> None:
        """Take in whether an evaluation proves that something was learned."""
        raise NotImplementedError

    def _check_evaluation(
        self, step: int, train: Mapping[str, float], evaluation: StageResult, size: int, *, is_last: bool
    ) -> None:
        """Look at what an evaluation says of this task, after the wait; see `epoch`."""
        raise NotImplementedError

    def _warn(self, about: str, message: str) -> None:
        """Log what may or may not be a fault, once in a stage."""
        if about not in self._warned:
            self._warned.add(about)
            logger.warning("guard: %s", message)

    def _not_finite(self, number: int, loss: float, gradient_norm: float) -> str:
        before = [seen for seen, _, _ in list(self._recent)[-5:]]
        course = ", ".join(f"{value:.4g}" for value in before) or "none, it is the first"
        return (
            f"loss is {loss} at step {number} (steps before: {course}; gradient norm {gradient_norm:.3g}). "
            "Likely causes: training.learning_rate is too high: try a tenth of it, or "
            "training.warmup_epochs; pixels far outside of the range that the network expects "
            "(transform.normalization); in mixed_float16 an overflow: try mixed_bfloat16"
        )
