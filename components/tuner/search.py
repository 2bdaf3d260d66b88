"""A search: KerasTuner's oracles say which values are tried, the Trainer's code trains with them.

What is known of a search stands in its folder, in KerasTuner's files, with the checkpoints of the trial that
runs: a search that was killed goes on in that trial.
"""

from __future__ import annotations

import csv
import dataclasses
import gc
import io
import logging
import math
import os
import time
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import tensorflow as tf
from keras_tuner.engine import base_tuner
from keras_tuner.engine.hyperparameters import Int
from keras_tuner.engine.trial import TrialStatus
from pydantic import ValidationError

from components.base.disk_full import disk_full_error
from components.base.errors import MiranteError
from components.base.task import task_named
from components.trainer.checkpoints import Checkpoints
from components.trainer.config import TrainingConfig
from components.trainer.fields import chosen, in_words, limits_of, settings
from components.trainer.job import Job
from components.trainer.material import Material
from components.trainer.run import Run
from components.trainer.step import build_evaluate
from components.trainer.strategy import checked_batch_size, is_cluster, make_place
from components.trainer.tracking.trackers import Trackers
from components.trainer.train import train
from components.tuner.config import HYPERBAND_FACTOR, TunerConfig

logger = logging.getLogger("mirante.tuner")

# KerasTuner's own value: how many epochs hyperband gives a trial.
_EPOCHS = "tuner/epochs"
_EPOCHS_FIELD = "training.epochs"


class _Bayesian(keras_tuner.oracles.BayesianOptimizationOracle):
    """KerasTuner's, made a function of the seed and of the trials so far, also when the search was killed."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The values of the next trial."""
        # Where the search for the most promising values starts is drawn from this, which is not saved.
        self._random_state = np.random.RandomState(self.seed + len(self.trials))
        answer: dict[str, Any] = super().populate_space(trial_id)
        for field in self.hyperparameters.space:
            # At the upper end, a whole number on a log scale comes out one too high.
            if answer.get("values") and isinstance(field, Int):
                answer["values"][field.name] = min(answer["values"][field.name], field.max_value)
        return answer


def make_space(config: TunerConfig, parts: dict[str, Any]) -> keras_tuner.HyperParameters:
    """The fields that are searched for, with the names that they have in recipes."""
    space = keras_tuner.HyperParameters()
    # Values are drawn in this order; in which one the recipe names them does not matter.
    for name, field in sorted(config.fields.items()):
        limits = limits_of(name, field, parts)
        if field.values is not None:
            space.Choice(name, limits)
        elif all(isinstance(end, int) for end in limits):
            space.Int(name, *limits, sampling=field.scale)
        else:
            space.Float(name, *limits, sampling=field.scale)
    return space


def make_oracle(config: TunerConfig, parts: dict[str, Any]) -> keras_tuner.Oracle:
    """Return what chooses the values to try next; equal seeds and results give equal choices."""
    direction = "min" if config.objective.endswith("loss") else "max"
    options = {
        "objective": keras_tuner.Objective(config.objective, direction),
        "hyperparameters": make_space(config, parts),
        # Other fields than these are not asked for.
        "allow_new_entries": False,
        "tune_new_entries": False,
        # 0 would be drawn by chance.
        "seed": parts["training"]["seed"] + 1,
        # One that fails says nothing about the next.
        "max_consecutive_failed_trials": config.trials + 1,
    }
    if config.algorithm == "random":
        return keras_tuner.oracles.RandomSearchOracle(max_trials=config.trials, **options)
    if config.algorithm == "bayesian":
        # KerasTuner's default is 3 a field, which few trials would never get beyond.
        first = min(3 * len(config.fields), max(2, config.trials // 3))
        return _Bayesian(max_trials=config.trials, num_initial_points=first, **options)
    epochs = config.epochs or parts["training"]["epochs"]
    oracle = keras_tuner.oracles.HyperbandOracle(max_epochs=epochs, factor=HYPERBAND_FACTOR, **options)
    # It has no such argument. TFX reads it, and fails on None.
    oracle.max_trials = config.trials
    return oracle


class Search(base_tuner.BaseTuner):
    """Trainings of a job with other values of some fields, one after the other.

    Args:
        job: What is trained. `custom_config` has the recipe's part `tuner` too, and as `checkpoints` the
            folder of all searches, which may be a bucket.

    Raises:
        MiranteError: See `components.tuner.tuner_fn`.
    """

    def __init__(self, job: Job):
        self._parts = job.custom_config
        self.config = TunerConfig.model_validate(self._parts["tuner"])
        training = TrainingConfig.model_validate(self._parts["training"])
        if training.strategy in ("auto", "multi_worker") and is_cluster():
            raise MiranteError(
                "the Tuner runs on one machine, and TF_CONFIG tells of several: search on one of them, "
                "without TF_CONFIG, and give the training what was found (hyperparameters: FILE)"
            )
        self._place = make_place(training)
        self._material = Material.of(job, training)
        self._measures = (*task_named(self._material.task).objectives, "seconds")
        # The guard does not tell one training from another, but one search: it says which trials fail.
        guard = {"guard": training.guard.model_dump()}
        job = dataclasses.replace(job, custom_config={**job.custom_config, **guard})
        where = {"directory": job.custom_config["checkpoints"], "project_name": job.name}
        Checkpoints(os.path.join(*where.values()), keep=1).remove_others()
        try:
            super().__init__(make_oracle(self.config, self._parts), **where)
        except (ValueError, KeyError, RuntimeError) as e:
            # A kill, or a full disk, has left half a file.
            logger.info("what is left of an earlier search cannot be read (%s): it starts anew", e)
            super().__init__(make_oracle(self.config, self._parts), **where, overwrite=True)
        self.oracle.verbose = 0

    def reload(self) -> None:
        """Goes on where a killed search was."""
        super().reload()
        # In their order, which decides the last digits of sums; without one that was not begun.
        self.oracle.trials = {number: self.oracle.trials[number] for number in self.oracle.start_order}

    def search(self, *fit_args: Any, **fit_kwargs: Any) -> None:
        """Runs all trials that are left.

        Raises:
            MiranteError: Not one of them came to an end.
        """
        if self.oracle.trials:
            logger.info("the search goes on after %d trials", len(self.oracle.end_order))
        # KerasTuner looks for this file to know that there is something to go on with.
        self.save()
        # By being asked for labels they are decoded: now, or the first trial would seem to take long.
        counts = [len(split.labels) for split in (self._material.train, self._material.evaluation)]
        config = self.config
        logger.info(
            "%s search: at most %d trials on %d images, judged on %d",
            config.algorithm,
            config.trials,
            *counts,
        )
        fatal: BaseException | None = None
        try:
            super().search(*fit_args, **fit_kwargs)
        except keras_tuner.errors.FatalError as e:
            fatal = e.__cause__ or e
        if fatal is not None:
            raise fatal
        trials = self.trials()
        if not any(trial.status == TrialStatus.COMPLETED for trial in trials):
            tf.io.gfile.rmtree(self.project_dir)
            raise MiranteError(
                f"all {len(trials)} trials failed, the last one with {in_words(chosen_of(trials[-1]))}: "
                f"{_reason(trials[-1])}. Look for the cause without the search (tuner=null), or give "
                "tuner.fields other bounds"
            )
        logger.info("%s", self._summary())

    def trials(self) -> list[Any]:
        """All trials so far, in their order."""
        return [self.oracle.trials[trial_id] for trial_id in self.oracle.start_order]

    def run_trial(self, trial: Any, *fit_args: Any, **fit_kwargs: Any) -> dict[str, float]:
        """Trains with the trial's values.

        Returns:
            What is measured of the model that comes out on all of the eval split, and the seconds it took.

        Raises:
            FailedTrialError: It cannot be, or does not learn.
            FatalError: Something else is wrong, and would be with other values.
        """
        began = time.monotonic()
        values = chosen_of(trial)
        logger.info("trial %d/%d: %s", int(trial.trial_id) + 1, self.config.trials, in_words(values))
        folder = os.path.join(self.get_trial_dir(trial.trial_id), "checkpoints")
        try:
            measured = self._measure(trial, values, folder)
        except (MiranteError, ValidationError) as e:
            raise keras_tuner.errors.FailedTrialError(_one_line(e)) from e
        except tf.errors.ResourceExhaustedError as e:
            if disk_full_error(e, [Path(folder)]):
                raise keras_tuner.errors.FatalError(_one_line(e)) from e
            raise keras_tuner.errors.FailedTrialError(f"too little memory: {_one_line(e)}") from e
        except Exception as e:
            raise keras_tuner.errors.FatalError(_one_line(e)) from e
        return {**measured, "seconds": time.monotonic() - began}

    def _measure(self, trial: Any, values: dict[str, Any], folder: str) -> dict[str, float]:
        model_config, training = settings(self._parts, {**self._epochs(trial), **values})
        checked_batch_size(training, self._place.num_replicas)
        checkpoints = Checkpoints(folder, training.checkpoints.keep)
        checkpoints.discard_damaged()
        material = self._material
        run = Run(
            material.trainee(model_config, training),
            material.train,
            material.evaluation,
            training,
            self._place,
            checkpoints,
            Trackers(),
            material.levels,
        )
        model = train(model_config, material, run, os.path.join(folder, "report"))
        # With label smoothing, which a trial may choose, losses of trials could not be compared.
        plain = training.model_copy(update={"label_smoothing": 0.0})
        trainee = material.trainee(model_config, plain)
        result = build_evaluate(model, trainee, material.evaluation, plain, self._place)()
        if not math.isfinite(result.loss):
            raise MiranteError(f"diverged: the eval loss is {result.loss}")
        measured = {f"eval_{name}": value for name, value in {"loss": result.loss, **result.metrics}.items()}
        return {name: float(value) for name, value in measured.items() if name in self._measures}

    def _epochs(self, trial: Any) -> dict[str, int]:
        if self.config.algorithm == "hyperband":
            return {_EPOCHS_FIELD: trial.hyperparameters.values[_EPOCHS]}
        return {_EPOCHS_FIELD: self.config.epochs} if self.config.epochs else {}

    def on_trial_end(self, trial: Any) -> None:
        """Takes note of a trial's end and removes its checkpoints."""
        super().on_trial_end(trial)
        number = int(trial.trial_id) + 1
        ended = self.oracle.trials[trial.trial_id]
        if ended.status == TrialStatus.COMPLETED:
            measured = ", ".join(f"{name} {_measured(ended, name):.4f}" for name in self._measures[:2])
            logger.info("trial %d: %s, %.1f s", number, measured, _measured(ended, "seconds"))
        else:
            logger.info("trial %d failed: %s", number, _reason(ended))
        checkpoints = os.path.join(self.get_trial_dir(trial.trial_id), "checkpoints")
        if tf.io.gfile.exists(checkpoints):
            tf.io.gfile.rmtree(checkpoints)
        # The graphs of a training refer to each other: they would stay until there is little memory left.
        gc.collect()

    def table(self) -> str:
        """CSV of all trials: number, status, values, measures, and why it failed."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        fields = sorted(self.config.fields)
        epochs = ["epochs"] if self.config.algorithm == "hyperband" else []
        writer.writerow(["trial", "status", *fields, *epochs, *self._measures, "reason"])
        for number, trial in enumerate(self.trials(), start=1):
            values = chosen_of(trial)
            done = trial.status == TrialStatus.COMPLETED
            writer.writerow(
                [
                    number,
                    "completed" if done else "failed",
                    *(values[name] for name in fields),
                    *(trial.hyperparameters.values[_EPOCHS] for _ in epochs),
                    *(_measured(trial, name) if done else "" for name in self._measures),
                    "" if done else _reason(trial),
                ]
            )
        return text.getvalue()

    def _summary(self) -> str:
        """The table for people, the best trial first."""
        best = [
            t for t in self.oracle.get_best_trials(len(self.trials())) if t.status == TrialStatus.COMPLETED
        ]
        failed = [trial for trial in self.trials() if trial.status != TrialStatus.COMPLETED]
        lines = [f"{len(best)} trials, best {self.config.objective} first; {len(failed)} failed"]
        for trial in best:
            number = int(trial.trial_id) + 1
            measured = "  ".join(f"{name} {_measured(trial, name):.4f}" for name in self._measures[:2])
            secs = f"{_measured(trial, 'seconds'):.1f} s"
            lines.append(f"  trial {number:<4} {measured}  {secs:>9}  {in_words(chosen_of(trial))}")
        return "\n".join(lines)


def chosen_of(trial: Any) -> dict[str, Any]:
    """The trial's values by the fields' names."""
    return chosen({"values": trial.hyperparameters.values})


def _measured(trial: Any, name: str) -> float:
    return float(trial.metrics.get_best_value(name))


def _reason(trial: Any) -> str:
    """What made it fail: the last line of the traceback that KerasTuner keeps, without the error's name."""
    last: str = trial.message.strip().splitlines()[-1]
    return last.partition("Error: ")[2]


def _one_line(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, item['loc']))} {item['msg'].removeprefix('Value error, ')}".strip()
            for item in error.errors(include_url=False)
        )
    return " ".join(str(error).split()) or type(error).__name__
