"""The training loop that all strategies share: steps, epochs, an evaluation after each, checkpoints."""

import contextlib
import dataclasses
import logging
import math
import time
from typing import Any

import tensorflow as tf

from components.base.arrays import Array
from components.base.interrupts import uninterrupted
from components.trainer.guard import Pace
from components.trainer.input.batches import batch_size_for, training_batches
from components.trainer.optimizers.average import MovingAverage
from components.trainer.optimizers.make import make_optimizer
from components.trainer.progress import Progress, is_lower, log_epoch, log_steps, warn_of_kernels
from components.trainer.result import StageResult
from components.trainer.run import Run
from components.trainer.stage import Stage
from components.trainer.step import (
    Change,
    build_average,
    build_evaluate,
    build_step,
    copy_weights,
    count_settle_steps,
    count_steps,
)
from components.trainer.strategy import describe_kernels

logger = logging.getLogger("mirante.trainer")

# Steps whose results are read together: reading each at once would make a GPU wait.
_READ_STEPS = 20
# Steps between two points of the curves.
CURVE_STEPS = 50


class Loop:
    """Runs one stage from its last checkpoint to its end.

    Args:
        stage: The stage.
        run: The training that it is a part of; variables were created under its strategy.
    """

    def __init__(self, stage: Stage, run: Run):
        self._stage, self._config, self._place = stage, run.config, run.place
        self._trainee, self._show, self._tracker = run.trainee, run.show, run.tracker
        self._checkpoints, config, place = run.checkpoints, run.config, run.place
        self._batch_size = batch_size_for(config, place, stage.train.num_examples)
        with place.strategy.scope():
            self._optimizer = make_optimizer(config, stage.rate)
            self._optimizer.build(stage.model.trainable_variables)
            self._step = tf.Variable(0, trainable=False, dtype=tf.int64, name="step")
            self._ema = MovingAverage(stage.model, config.ema) if config.ema else None
        saved = (stage.whole, self._optimizer, self._step, self._ema.variables if self._ema else {})
        self._saver = run.checkpoints.saver(*saved)
        self._done_steps = 0
        self._progress = Progress(stage.name)
        self._saved_at = time.monotonic()
        # False while weights and progress are not of the same moment.
        self._may_be_saved = True
        pace = Pace(
            count_steps(stage.train.num_examples, stage.epochs, self._batch_size),
            stage.warmup_steps,
            count_settle_steps(stage.model),
            keeps_best=bool(config.patience_epochs),
            rate_falls=config.schedule != "constant",
        )
        self._guard = run.trainee.guard(config.guard, stage.train.labels, stage.evaluation.labels, pace)
        self._change = Change(stage.model.trainable_variables)
        self._pending: list[dict[str, tf.Tensor]] = []
        given = (stage.model, run.trainee, stage.train, config, place, self._optimizer, self._step, self._ema)
        self._train_step = build_step(*given)
        self._average = build_average(stage.whole, place)
        judged = (stage.evaluated or stage.model, run.trainee, stage.evaluation)
        self._evaluate_weights = build_evaluate(*judged, config, place)

    def run(self) -> tuple[int, StageResult]:
        """Train. On an interrupt, save a checkpoint and raise it again.

        Returns:
            The number of the last step, and the evaluation of the weights that the stage ends with.

        Raises:
            NotLearningError: The network learns nothing.
        """
        former = self._checkpoints.state()
        if former:
            warn_of_kernels(self._stage.name, former, describe_kernels())
        if former and former["stage"] == self._stage.name:
            self._progress = Progress(**self._saver.restore())
            self._done_steps = int(self._step.numpy())
            logger.info(
                "%s resumes at step %d, in epoch %d, from a checkpoint",
                self._stage.name,
                self._done_steps + 1,
                self._progress.epoch + 1,
            )
        elif former:
            self._progress.best_loss = former["best_loss"]
        batches = iter(
            self._place.strategy.distribute_datasets_from_function(
                lambda _: training_batches(
                    self._stage.train,
                    self._config,
                    first_step=self._done_steps,
                    place=self._place,
                    augment=self._stage.augment,
                )
            )
        )
        try:
            evaluation = self._run_epoch(batches)
            while not self._progress.done:
                evaluation = self._run_epoch(batches)
        except (KeyboardInterrupt, SystemExit):
            # Not in a cluster, where saving takes all processes; not between a step and its counting here.
            counted = int(self._step) == self._done_steps
            if self._place.num_workers == 1 and counted and self._may_be_saved:
                with uninterrupted():
                    self._save()
            raise
        return self._done_steps, evaluation

    def _run_epoch(self, batches: Any) -> StageResult:
        stage, progress = self._stage, self._progress
        last_step = count_steps(stage.train.num_examples, progress.epoch + 1, self._batch_size)
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
                # Not in a cluster, where tracing a step takes all processes.
                if self._place.num_workers == 1:
                    self._tracker.graph(stage.name, self._train_step, batch)
            # Most of the time passes here: an interrupt in between would cost the last checkpoint.
            with uninterrupted(), self._tracker.step(stage.name, self._done_steps + 1):
                self._pending.append(self._train_step(batch))
                self._done_steps += 1
            log_due = self._done_steps % (self._config.log_every_steps or math.inf) == 0
            if len(self._pending) == _READ_STEPS or self._done_steps == last_step or log_due:
                self._read()
            if log_due:
                images = (self._done_steps - first_step) * self._batch_size
                speed = images / max(time.monotonic() - began, 1e-9)
                log_steps(self._progress, self._done_steps, self._trainee, speed)
            if self._done_steps < last_step and self._is_checkpoint_due():
                self._save()
        trained_secs = max(time.monotonic() - began, 1e-9)
        self._average()
        # While an average is in the weights' place, they may not be saved.
        self._may_be_saved = self._ema is None
        if self._ema is None:
            evaluation, is_average = self._evaluate(), False
        else:
            evaluation, is_average = self._ema.evaluate(self._evaluate, self._stage.name)
        self._may_be_saved = True
        secs = time.monotonic() - began
        return self._end_epoch(evaluation, is_average, trained_secs, waited, secs, first_step)

    def _evaluate(self) -> StageResult:
        if self._stage.evaluated is not None:
            copy_weights(self._stage.model, self._stage.evaluated)
        return self._evaluate_weights()

    def _first_replica(self, batch: Any) -> tuple[Array, Array]:
        images, labels = (self._place.strategy.experimental_local_results(part)[0] for part in batch)
        return images.numpy(), labels.numpy()

    def _read(self) -> None:
        """Read the results of the steps since the last call."""
        first = self._done_steps - len(self._pending)
        progress = dataclasses.replace(self._progress, sums=dict(self._progress.sums))
        for number, result in enumerate(self._pending, start=first + 1):
            loss, norm = float(result["loss"]), float(result["gradient_norm"])
            sums = {name: float(result[name]) for name in self._trainee.metrics}
            metrics = {name: value / self._batch_size for name, value in sums.items()}
            self._guard.step(number, float(result["task_loss"]), metrics, norm, self._batch_size)
            for name, value in {"loss": loss * self._batch_size, **sums}.items():
                progress.sums[name] = progress.sums.get(name, 0.0) + value
            progress.seen += self._batch_size
            if number % CURVE_STEPS == 0:
                values = {"loss": loss, **metrics, "gradient_norm": norm}
                self._tracker.scalars(self._stage.name, number, {f"step/{k}": v for k, v in values.items()})
        # Both together, so that an interrupt cannot leave one of them updated.
        self._progress, self._pending = progress, []

    def _is_checkpoint_due(self) -> bool:
        """Return whether enough steps or seconds have passed since the last checkpoint."""
        config = self._config.checkpoints
        by_steps = self._done_steps % config.steps == 0
        # Not by time in a cluster: its processes' clocks differ, and all of them have to take part.
        if self._place.num_workers > 1:
            return by_steps
        secs = time.monotonic() - self._saved_at
        return secs >= config.min_secs and (by_steps or secs >= (config.max_secs or math.inf))

    def _is_recent(self) -> bool:
        secs = time.monotonic() - self._saved_at
        return self._place.num_workers == 1 and secs < self._config.checkpoints.min_secs

    def _save(self) -> None:
        self._read()
        self._average()
        self._saver.save({**dataclasses.asdict(self._progress), "kernels": describe_kernels()})
        self._saved_at = time.monotonic()

    def _end_epoch(
        self,
        evaluation: StageResult,
        is_average: bool,
        trained_secs: float,
        waited_secs: float,
        secs: float,
        first_step: int,
    ) -> StageResult:
        stage = self._stage
        # Taken over as a whole: an interrupt before it evaluates again.
        progress = dataclasses.replace(self._progress, epoch=self._progress.epoch + 1)
        steps = self._done_steps - first_step
        trained = progress.means(self._trainee.metrics)
        evaluated = {"loss": evaluation.loss, **evaluation.metrics}
        # This process did only a part of an interrupted epoch.
        of_epoch = self._done_steps - count_steps(
            stage.train.num_examples, self._progress.epoch, self._batch_size
        )
        whole_secs = secs + trained_secs * (of_epoch - steps) / max(1, steps)
        values = {
            **trained,
            **{f"eval_{name}": value for name, value in evaluated.items()},
            "learning_rate": float(tf.convert_to_tensor(self._optimizer.learning_rate)),
            "images_per_sec": steps * self._batch_size / trained_secs,
            "steps_per_sec": steps / trained_secs,
            "input_wait_share": waited_secs / trained_secs,
        }
        left = whole_secs * (stage.epochs - progress.epoch)
        log_epoch(stage.name, progress.epoch, stage.epochs, values, self._trainee, secs, left)
        self._tracker.scalars(stage.name, self._done_steps, {f"epoch/{k}": v for k, v in values.items()})
        progress.sums, progress.seen = {}, 0
        if self._config.patience_epochs:
            self._keep_best(progress, evaluation.loss, is_average, self._config.patience_epochs)
        progress.done = progress.done or progress.epoch >= stage.epochs
        self._guard.epoch(
            self._done_steps,
            trained,
            evaluation,
            stage.evaluation.num_examples,
            change=self._change.share(),
            is_last=progress.done and stage.is_last,
        )
        self._may_be_saved = False
        restored = progress.done and progress.best_loss is not None and progress.best_epoch < progress.epoch
        if restored:
            self._checkpoints.restore_best(stage.whole)
        elif progress.done and is_average and self._ema is not None:
            self._ema.adopt()
        self._progress = progress
        self._may_be_saved = True
        if progress.done or not self._is_recent():
            self._save()
        if restored:
            return self._evaluate()
        return evaluation

    def _keep_best(
        self, progress: Progress, eval_loss: float, is_average: bool, patience_epochs: int
    ) -> None:
        """Keep the weights if no epoch of the training had a loss this low; decide whether to stop."""
        if is_lower(eval_loss, progress.stage_best_loss):
            progress.stage_best_loss, progress.stage_best_epoch = eval_loss, progress.epoch
        progress.done = progress.epoch - progress.stage_best_epoch >= patience_epochs
        if is_lower(eval_loss, progress.best_loss):
            progress.best_loss, progress.best_epoch = eval_loss, progress.epoch
            with self._ema.in_place() if self._ema and is_average else contextlib.nullcontext():
                self._checkpoints.save_best(self._stage.whole)
        if not progress.done and progress.epoch < self._stage.epochs:
            return
        if progress.done:
            logger.info("%s stops: no better eval loss in %d epochs", self._stage.name, patience_epochs)
        if progress.best_loss is None:
            return
        if not progress.best_epoch:
            logger.warning(
                "%s has not reached the eval loss of the stage before, %.4f: the weights from before %s are "
                "kept",
                self._stage.name,
                progress.best_loss,
                self._stage.name,
            )
        elif progress.best_epoch < progress.epoch:
            logger.info("%s: the weights of epoch %d are kept", self._stage.name, progress.best_epoch)
