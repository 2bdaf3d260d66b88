"""The training loop that all strategies share: steps, epochs, an evaluation after each, checkpoints."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.trainer.augment.changes import Augment
from components.trainer.checkpoints import Checkpoints
from components.trainer.config import TrainingConfig
from components.trainer.guard import Pace
from components.trainer.input import Examples, training_batches
from components.trainer.optimizer import make_optimizer
from components.trainer.step import (
    Change,
    batch_size_for,
    build_average,
    build_evaluate,
    build_step,
    settle_steps,
    steps_of,
)
from components.trainer.strategy import Place, kernels
from components.trainer.tracking.trackers import Trackers
from components.trainer.trainee import Evaluation, Task

logger = logging.getLogger("mirante.trainer")

# (name of a stage, images [N, ...], labels) -> None
Show = Callable[[str, np.ndarray[Any, Any], np.ndarray[Any, Any]], None]

# Steps whose results are looked at together: reading each at once would make a GPU wait.
_READ_STEPS = 20
# Steps between two points of the curves.
CURVE_STEPS = 50


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a training: which network learns what, for how long and how fast.

    Attributes:
        name: `training`, `head` or `fine-tuning`.
        model: What is trained; all of the network, or its head.
        whole: The network that is saved with every checkpoint, `model` in it.
        train: What it learns from.
        evaluation: What it is evaluated by after each epoch.
        epochs: Passes over `train`.
        rate: A learning rate, or a schedule over the stage's steps.
        augment: What is done to training batches.
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
class _State:
    """What is known between steps, and kept in every checkpoint."""

    stage: str
    epoch: int = 0
    done: bool = False
    # Of the epoch so far, over its examples: `loss` and the task's metrics.
    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    seen: int = 0
    # The least eval loss of this stage, after which patience counts.
    stage_best_loss: float | None = None
    stage_best_epoch: int = 0
    # The least of the training, whose weights are kept: after which epoch of this stage, 0 for a former one.
    best_loss: float | None = None
    best_epoch: int = 0
    # What computes; see `kernels`.
    kernels: str = ""


class Loop:
    """Runs one stage from where its last checkpoint is to its end.

    Args:
        stage: What to do.
        task: What for.
        config: The recipe's `training` part.
        place: Where; variables were created under its strategy.
        checkpoints: Where it goes on, and is kept.
        tracker: What is told of the course, apart from the log.
        show: Is given the first batch: the stage's name, images [N, ...], labels [N, ...].
    """

    def __init__(
        self,
        stage: Stage,
        task: Task,
        config: TrainingConfig,
        place: Place,
        checkpoints: Checkpoints,
        tracker: Trackers,
        show: Show | None = None,
    ):
        self._stage, self._config, self._place = stage, config, place
        self._task, self._show = task, show
        self._checkpoints, self._tracker = checkpoints, tracker
        self._batch_size = batch_size_for(config, place, stage.train.num_examples)
        with place.strategy.scope():
            self._optimizer = make_optimizer(config, stage.rate)
            self._optimizer.build(stage.model.trainable_variables)
            self._step = tf.Variable(0, trainable=False, dtype=tf.int64, name="step")
        self._saver = checkpoints.saver(stage.whole, self._optimizer, self._step)
        self._done_steps = 0
        self._state = _State(stage.name)
        self._saved_at = time.monotonic()
        # False while weights and state are not of the same moment.
        self._may_be_saved = True
        pace = Pace(
            steps_of(stage.train.num_examples, stage.epochs, self._batch_size),
            stage.warmup_steps,
            settle_steps(stage.model),
            keeps_best=bool(config.patience_epochs),
            rate_falls=config.schedule != "constant",
        )
        self._guard = task.guard(config.guard, stage.train.labels, stage.evaluation.labels, pace)
        self._change = Change(stage.model.trainable_variables)
        self._pending: list[dict[str, tf.Tensor]] = []
        self._train_step = build_step(
            stage.model, task, self._optimizer, self._step, config, place, self._batch_size
        )
        self._average = build_average(stage.whole, place)
        self._evaluate = build_evaluate(stage.model, task, stage.evaluation, config, place)

    def run(self) -> tuple[int, Evaluation]:
        """Trains. An interrupt is let through after a checkpoint was made.

        Returns:
            The number of the last step, and the evaluation of the weights that the stage ends with.

        Raises:
            NotLearningError: It learns nothing.
        """
        former = self._checkpoints.state()
        if former and former.get("kernels", "") not in ("", kernels()):
            logger.warning(
                "%s goes on with other kernels (%s) than the training began with (%s): it does not end as an "
                "undisturbed one does, bit for bit",
                self._stage.name,
                kernels(),
                former["kernels"],
            )
        if former and former["stage"] == self._stage.name:
            self._state = _State(**self._saver.restore())
            self._done_steps = int(self._step.numpy())
            logger.info(
                "%s goes on at step %d, in epoch %d, from a checkpoint",
                self._stage.name,
                self._done_steps + 1,
                self._state.epoch + 1,
            )
        elif former:
            self._state.best_loss = former["best_loss"]
        batches = iter(
            self._place.strategy.distribute_datasets_from_function(
                lambda _: training_batches(
                    self._stage.train,
                    self._batch_size,
                    self._config.seed,
                    first_step=self._done_steps,
                    place=self._place,
                    augment=self._stage.augment,
                )
            )
        )
        try:
            evaluation = self._run_epoch(batches)
            while not self._state.done:
                evaluation = self._run_epoch(batches)
        except (KeyboardInterrupt, SystemExit):
            # Not with others: saving takes all of them. Not between a step and its being counted here.
            counted = int(self._step) == self._done_steps
            if self._place.num_workers == 1 and counted and self._may_be_saved:
                self._save()
            raise
        return self._done_steps, evaluation

    def _run_epoch(self, batches: Any) -> Evaluation:
        stage, state = self._stage, self._state
        last_step = steps_of(stage.train.num_examples, state.epoch + 1, self._batch_size)
        began, waited, first_step = time.monotonic(), 0.0, self._done_steps
        while self._done_steps < last_step:
            asked = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - asked
            if self._done_steps == 0:
                inputs = self._first_replica(batch)
                self._guard.check_inputs(inputs[0])
                if self._show and self._place.is_chief:
                    self._show(stage.name, *inputs)
                # Not with others: to trace a step, all of them have to take part.
                if self._place.num_workers == 1:
                    self._tracker.graph(stage.name, self._train_step, batch)
            with self._tracker.step(stage.name, self._done_steps + 1):
                self._pending.append(self._train_step(batch))
            self._done_steps += 1
            if len(self._pending) == _READ_STEPS or self._done_steps == last_step:
                self._read()
            if self._done_steps % self._config.checkpoints.steps == 0 and self._done_steps < last_step:
                self._save(unless_recent=True)
        trained_secs = max(time.monotonic() - began, 1e-9)
        self._average()
        evaluation = self._evaluate()
        return self._end_epoch(evaluation, trained_secs, waited, time.monotonic() - began, first_step)

    def _first_replica(self, batch: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        images, labels = (self._place.strategy.experimental_local_results(part)[0] for part in batch)
        return images.numpy(), labels.numpy()

    def _read(self) -> None:
        """Takes in the results of the steps since the last time."""
        first = self._done_steps - len(self._pending)
        state = dataclasses.replace(self._state, sums=dict(self._state.sums))
        for number, result in enumerate(self._pending, start=first + 1):
            loss, norm = float(result["loss"]), float(result["gradient_norm"])
            sums = {name: float(result[name]) for name in self._task.metrics}
            metrics = {name: value / self._batch_size for name, value in sums.items()}
            self._guard.step(number, float(result["task_loss"]), metrics, norm, self._batch_size)
            for name, value in {"loss": loss * self._batch_size, **sums}.items():
                state.sums[name] = state.sums.get(name, 0.0) + value
            state.seen += self._batch_size
            if number % CURVE_STEPS == 0:
                values = {"loss": loss, **metrics, "gradient_norm": norm}
                self._tracker.scalars(self._stage.name, number, {f"step/{k}": v for k, v in values.items()})
        # At once, lest an interrupt leaves half of it.
        self._state, self._pending = state, []

    def _save(self, *, unless_recent: bool = False) -> None:
        # Several processes' clocks differ, and all of them have to take part.
        recent = time.monotonic() - self._saved_at < self._config.checkpoints.min_secs
        if unless_recent and recent and self._place.num_workers == 1:
            return
        self._read()
        self._average()
        self._saver.save({**dataclasses.asdict(self._state), "kernels": kernels()})
        self._saved_at = time.monotonic()

    def _end_epoch(
        self, evaluation: Evaluation, trained_secs: float, waited_secs: float, secs: float, first_step: int
    ) -> Evaluation:
        stage = self._stage
        # Taken over as a whole: an interrupt in between evaluates again.
        state = dataclasses.replace(self._state, epoch=self._state.epoch + 1)
        seen, steps = max(1, state.seen), self._done_steps - first_step
        trained = {name: state.sums.get(name, 0.0) / seen for name in ("loss", *self._task.metrics)}
        evaluated = {"loss": evaluation.loss, **evaluation.metrics}
        # Of an epoch that was interrupted, this process did a part.
        of_epoch = self._done_steps - steps_of(stage.train.num_examples, self._state.epoch, self._batch_size)
        whole_secs = secs + trained_secs * (of_epoch - steps) / max(1, steps)
        values = {
            **trained,
            **{f"eval_{name}": value for name, value in evaluated.items()},
            "learning_rate": float(tf.convert_to_tensor(self._optimizer.learning_rate)),
            "images_per_sec": steps * self._batch_size / trained_secs,
            "steps_per_sec": steps / trained_secs,
            "input_wait_share": waited_secs / trained_secs,
        }
        logger.info(
            "%s epoch %d/%d: %s, %.0f images/s (%.1f steps/s, waiting for input %.0f %%), %s%s",
            stage.name,
            state.epoch,
            stage.epochs,
            ", ".join([*self._in_words("", trained), *self._in_words("eval ", evaluated)]),
            values["images_per_sec"],
            values["steps_per_sec"],
            100 * values["input_wait_share"],
            _duration(secs),
            f", {_duration(whole_secs * (stage.epochs - state.epoch))} to go"
            if state.epoch < stage.epochs
            else "",
        )
        self._tracker.scalars(stage.name, self._done_steps, {f"epoch/{k}": v for k, v in values.items()})
        state.sums, state.seen = {}, 0
        if self._config.patience_epochs:
            self._keep_the_best(state, evaluation.loss, self._config.patience_epochs)
        state.done = state.done or state.epoch >= stage.epochs
        self._guard.epoch(
            self._done_steps,
            trained,
            evaluation,
            stage.evaluation.num_examples,
            change=self._change.share(),
            is_last=state.done and stage.is_last,
        )
        self._may_be_saved = False
        restored = state.done and state.best_loss is not None and state.best_epoch < state.epoch
        if restored:
            self._checkpoints.restore_best(stage.whole)
        self._state = state
        self._may_be_saved = True
        self._save(unless_recent=not state.done)
        if restored:
            return self._evaluate()
        return evaluation

    def _keep_the_best(self, state: _State, eval_loss: float, patience_epochs: int) -> None:
        """Keeps the weights if no epoch of the training had so low a loss; else says whether to stop."""
        if _is_lower(eval_loss, state.stage_best_loss):
            state.stage_best_loss, state.stage_best_epoch = eval_loss, state.epoch
        state.done = state.epoch - state.stage_best_epoch >= patience_epochs
        if _is_lower(eval_loss, state.best_loss):
            state.best_loss, state.best_epoch = eval_loss, state.epoch
            self._checkpoints.save_best(self._stage.whole)
        if not state.done and state.epoch < self._stage.epochs:
            return
        if state.done:
            logger.info("%s stops: no better eval loss in %d epochs", self._stage.name, patience_epochs)
        if state.best_loss is None:
            return
        if not state.best_epoch:
            logger.warning(
                "%s has not reached the eval loss of the stage before, %.4f: the weights from before %s are "
                "kept",
                self._stage.name,
                state.best_loss,
                self._stage.name,
            )
        elif state.best_epoch < state.epoch:
            logger.info("%s: the weights of epoch %d are kept", self._stage.name, state.best_epoch)

    def _in_words(self, before: str, values: Mapping[str, float]) -> list[str]:
        words = self._task.words
        return [
            f"{before}{words.get(name, name.replace('_', ' '))} {value:.4f}" for name, value in values.items()
        ]


def _is_lower(loss: float, best: float | None) -> bool:
    """Whether a loss is the best so far; one that is no number never is."""
    return math.isfinite(loss) and (best is None or loss < best)


def _duration(secs: float) -> str:
    if secs < 120:
        return f"{secs:.1f} s"
    minutes, rest = divmod(round(secs), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
