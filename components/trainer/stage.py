"""One stage of a training: what it is, how far it is, and how that is logged."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import keras

from components.trainer.augment.changes import Augment
from components.trainer.input.examples import Examples


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a training: which network learns what, for how long and how fast.

    Attributes:
        name: `training`, `head` or `fine-tuning`.
        model: What is trained: the whole network, or its head.
        whole: The network that is saved with every checkpoint; `model` is in it.
        train: What it learns from.
        evaluation: What it is evaluated on after each epoch.
        epochs: Passes over `train`.
        rate: A learning rate, or a schedule over the stage's steps.
        augment: Varies training batches.
        warmup_steps: Steps in which the rate rises.
        is_last: Whether no stage follows.
    """

    name: str
    model: keras.Model
    whole: keras.Model
    train: Examples
    evaluation: Examples
    epochs: int
    rate: Any
    augment: Augment | None = None
    warmup_steps: int = 0
    is_last: bool = True


@dataclasses.dataclass
class Progress:
    """The progress of a stage between steps, saved in every checkpoint.

    Attributes:
        stage: Name of the stage.
        epoch: Full epochs.
        done: Whether the stage is over.
        sums: `loss` and the trainee's metrics, summed over the examples of the epoch so far.
        seen: The number of those examples.
        stage_best_loss: The least eval loss of this stage, from which patience counts.
        stage_best_epoch: The epoch after which it was measured.
        best_loss: The least eval loss of the training, whose weights are kept.
        best_epoch: The epoch of this stage after which it was measured, 0 for an earlier stage.
        kernels: What computes; see `components.trainer.strategy.describe_kernels`.
    """

    stage: str
    epoch: int = 0
    done: bool = False
    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    seen: int = 0
    stage_best_loss: float | None = None
    stage_best_epoch: int = 0
    best_loss: float | None = None
    best_epoch: int = 0
    kernels: str = ""


def is_lower(loss: float, best: float | None) -> bool:
    """Return whether a loss is the best so far; NaN never is."""
    return math.isfinite(loss) and (best is None or loss < best)


def format_metrics(before: str, values: Mapping[str, float], words: Mapping[str, str]) -> list[str]:
    """Format metrics for the log, such as `eval loss 0.0123`.

    Args:
        before: Stands before each metric.
        values: By metric.
        words: The words for a metric, where they are not its name.
    """
    return [
        f"{before}{words.get(name, name.replace('_', ' '))} {value:.4f}" for name, value in values.items()
    ]


def format_duration(secs: float) -> str:
    """Format a duration, such as `1.5 s`, `3 min 20 s` or `2 h 5 min`."""
    if secs < 120:
        return f"{secs:.1f} s"
    minutes, rest = divmod(round(secs), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
