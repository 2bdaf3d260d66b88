"""Finds a learning rate: a training of few steps, whose rate rises from step to step.

Where the rate is too low, the loss hardly falls; where it is too high, it rises. In between is the rate with
which it falls fastest.

Source: Smith, Cyclical learning rates for training neural networks, 2015, section 3.3.
"""

import dataclasses
import logging
import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from components.base.errors import MiranteError
from components.models import BACKBONE
from components.models.config import ModelConfig
from components.pages.charts import drawing
from components.trainer.config import TrainingConfig
from components.trainer.input.batches import batch_size_for, training_batches
from components.trainer.job import Job
from components.trainer.material import Material
from components.trainer.optimizers.make import make_optimizer
from components.trainer.step import build_step
from components.trainer.strategy import make_place
from components.trainer.train import build

logger = logging.getLogger("mirante.trainer")

# The loss of a step is smoothed with those before it, which count this much.
SMOOTHING = 0.95
# Times the least loss: from there on, only higher ones would follow.
_DIVERGED = 3.0


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A training with rising rates.

    Attributes:
        rates: The rate of each step.
        losses: The smoothed loss after each step.
        suggested: A tenth of the rate with the least loss.
    """

    rates: Sequence[float]
    losses: Sequence[float]
    suggested: float


def find_rate(job: Job, low: float, high: float, steps: int) -> Sweep:
    """Train a job's network for few steps, with rates that rise from `low` to `high` by equal factors.

    With pretrained weights the head is trained, on the frozen backbone, as a first stage does.

    Args:
        job: What is trained; nothing is written.
        low: The rate of the first step.
        high: The rate of the last one; the sweep ends before it where the loss has become far too large.
        steps: How many.

    Raises:
        MiranteError: The loss is no number from the first step on, or falls with none of the rates.
    """
    training = TrainingConfig.model_validate(job.custom_config["training"])
    model_config = ModelConfig.model_validate(job.custom_config["model"])
    place = make_place(training)
    material = Material.of(job, training)
    trainee = material.make_trainee(model_config, training)
    model = build(model_config, material, training, training.precision, place.strategy)
    if model_config.weights is not None:
        model.get_layer(BACKBONE).trainable = False
    rate = keras.optimizers.schedules.ExponentialDecay(low, steps - 1, high / low)
    with place.strategy.scope():
        optimizer = make_optimizer(training, rate)
        optimizer.build(model.trainable_variables)
        counter = tf.Variable(0, trainable=False, dtype=tf.int64)
    step = build_step(model, trainee, material.train, training, place, optimizer, counter)
    augment = trainee.make_augmenter(training.augmentation, training.seed, material.levels)
    batches = place.strategy.distribute_datasets_from_function(
        lambda _: training_batches(material.train, training, place=place, augment=augment)
    )
    size = batch_size_for(training, place, material.train.num_examples)
    logger.info("rates from %g to %g in %d steps of %d images", low, high, steps, size)
    losses: list[float] = []
    for batch in batches:
        losses.append(float(step(batch)["task_loss"]))
        smooth = smooth_losses(losses)
        if len(losses) == steps or not smooth[-1] < _DIVERGED * min(smooth):
            break
    return make_sweep([low * (high / low) ** (n / (steps - 1)) for n in range(len(losses))], losses)


def smooth_losses(losses: Sequence[float]) -> list[float]:
    """Return the mean of each loss and those before it, which count less the longer they are ago."""
    smooth, mean, weight = [], 0.0, 0.0
    for loss in losses:
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        smooth.append(mean / weight)
    return smooth


def make_sweep(rates: Sequence[float], losses: Sequence[float]) -> Sweep:
    """Return the sweep of these steps, with its suggestion.

    Raises:
        MiranteError: No loss but the first is a number, or none is lower than the first.
    """
    found = [(r, loss) for r, loss in zip(rates, smooth_losses(losses), strict=True) if math.isfinite(loss)]
    best, least = min(found, key=lambda pair: pair[1], default=(0.0, math.nan))
    if len(found) < 2 or not least < found[0][1]:
        raise MiranteError(
            "lr-find: the loss falls with none of the rates: give --low and --high other values, or look at "
            "the first batch and the network"
        )
    return Sweep([r for r, _ in found], [loss for _, loss in found], best / 10)


def draw_sweep(sweep: Sweep, path: str) -> None:
    """Draw the losses over the rates, with the suggestion, into a PNG."""
    with drawing(width_in=7.0, height_in=4.0) as (figure, axes):
        axes.plot(sweep.rates, sweep.losses)
        axes.axvline(sweep.suggested, color="0.4", linestyle="--", linewidth=1.2)
        axes.set_xscale("log")
        # By itself Matplotlib writes powers, which need its formulas.
        axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss, smoothed")
        axes.set_title(f"suggested: {sweep.suggested:.2g}", loc="left")
        figure.savefig(path, dpi=150, facecolor="white")
