"""The progress of a stage, and how it is logged."""

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from components.trainer.trainee import Trainee

logger = logging.getLogger("mirante.trainer")


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

    def means(self, metrics: Sequence[str]) -> dict[str, float]:
        """Return the means of `loss` and of the trainee's metrics over the epoch so far."""
        return {name: self.sums.get(name, 0.0) / max(1, self.seen) for name in ("loss", *metrics)}


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


def warn_of_kernels(stage: str, former: Mapping[str, Any], kernels: str) -> None:
    """Log that a training resumes with other kernels than those that it started with."""
    if former.get("kernels", "") not in ("", kernels):
        logger.warning(
            "%s resumes with other kernels (%s) than the training started with (%s): the result is not, "
            "bit for bit, that of an undisturbed training",
            stage,
            kernels,
            former["kernels"],
        )


def log_steps(progress: Progress, step: int, trainee: Trainee, images_per_sec: float) -> None:
    """Log the means of the epoch so far."""
    logger.info(
        "%s epoch %d, step %d: %s, %.0f images/s",
        progress.stage,
        progress.epoch + 1,
        step,
        ", ".join(format_metrics("", progress.means(trainee.metrics), trainee.words)),
        images_per_sec,
    )


def log_epoch(
    stage: str,
    epoch: int,
    epochs: int,
    values: Mapping[str, float],
    trainee: Trainee,
    secs: float,
    left_secs: float,
) -> None:
    """Log an epoch that is over.

    Args:
        stage: The stage's name.
        epoch: The epoch's number, from 1.
        epochs: Those of the stage.
        values: What the epoch's curves get: of training by their names, of the evaluation as `eval_<name>`.
        trainee: Says what metrics are called.
        secs: The epoch's duration.
        left_secs: That of the epochs to come.
    """
    names = ("loss", *trainee.metrics)
    trained = {name: values[name] for name in names}
    evaluated = {name.removeprefix("eval_"): v for name, v in values.items() if name.startswith("eval_")}
    logger.info(
        "%s epoch %d/%d: %s, %.0f images/s (%.1f steps/s, waiting for input %.0f %%), %s%s",
        stage,
        epoch,
        epochs,
        ", ".join(
            [
                *format_metrics("", trained, trainee.words),
                *format_metrics("eval ", evaluated, trainee.words),
            ]
        ),
        values["images_per_sec"],
        values["steps_per_sec"],
        100 * values["input_wait_share"],
        format_duration(secs),
        f", {format_duration(left_secs)} to go" if epoch < epochs else "",
    )
