"""A search: KerasTuner's oracles say which values are tried, the Trainer's code trains with them.

The folder of a search has KerasTuner's files and the checkpoints of the running trial: a killed search
resumes in that trial.
"""

import dataclasses
import gc
import logging
import math
import os
import time
from pathlib import Path
from typing import Any

import keras_tuner
import tensorflow as tf
from keras_tuner.engine import base_tuner
from keras_tuner.engine.trial import TrialStatus
from pydantic import ValidationError

from components.base.disk_full import disk_full_error
from components.base.errors import MiranteError
from components.base.table import format_table
from components.base.task import task_named
from components.trainer.checkpoints import Checkpoints
from components.trainer.config import TrainingConfig
from components.trainer.fields import format_values, make_settings, read_values
from components.trainer.job import Job
from components.trainer.material import Material
from components.trainer.run import Run
from components.trainer.step import build_evaluate
from components.trainer.strategy import find_batch_size, is_cluster, make_place
from components.trainer.tracking.trackers import Trackers
from components.trainer.train import train
from components.tuner.config import TunerConfig
from components.tuner.oracles import make_oracle

logger = logging.getLogger("mirante.tuner")

# KerasTuner's own value: how many epochs hyperband gives a trial.
_EPOCHS = "tuner/epochs"
_EPOCHS_FIELD = "training.epochs"


class Search(base_tuner.BaseTuner):
    """Runs trainings of a job with other values of some fields, one after the other.

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
                "the Tuner runs on one machine, and TF_CONFIG names several: search on one of them, "
                "without TF_CONFIG, and give the training what was found (hyperparameters: FILE)"
            )
        self._place = make_place(training)
        self._material = Material.of(job, training)
        self._measures = (*task_named(self._material.task).objectives, "seconds")
        # The guard makes no other training, but another search: it decides which trials fail.
        guard = {"guard": training.guard.model_dump()}
        job = dataclasses.replace(job, custom_config={**job.custom_config, **guard})
        where = {"directory": job.custom_config["checkpoints"], "project_name": job.name}
        Checkpoints(os.path.join(*where.values())).remove_others()
        try:
            super().__init__(make_oracle(self.config, self._parts), **where)
        except (ValueError, KeyError, RuntimeError) as e:
            # A kill, or a full disk, has left half a file.
            logger.info("what is left of an earlier search cannot be read (%s): it starts anew", e)
            super().__init__(make_oracle(self.config, self._parts), **where, overwrite=True)
        self.oracle.verbose = 0

    def reload(self) -> None:
        """Resume a killed search."""
        super().reload()
        # In their order, which decides the last digits of sums, and without trials that were not started.
        self.oracle.trials = {number: self.oracle.trials[number] for number in self.oracle.start_order}

    def search(self, *fit_args: Any, **fit_kwargs: Any) -> None:
        """Run all trials that are left.

        Raises:
            MiranteError: Not one of them came to an end.
        """
        if self.oracle.trials:
            logger.info("the search resumes after %d trials", len(self.oracle.end_order))
        # KerasTuner looks for this file to know that there is something to resume.
        self.save()
        # Asking for labels decodes the images: now, or the first trial would seem to take long.
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
            last = format_values(_read_trial(trials[-1]))
            raise MiranteError(
                f"all {len(trials)} trials failed, the last one with {last}: "
                f"{_find_reason(trials[-1])}. Look for the cause without the search (tuner=null), or give "
                "tuner.fields other bounds"
            )
        logger.info("%s", self._summary())

    def trials(self) -> list[Any]:
        """Return all trials so far, in their order."""
        return [self.oracle.trials[trial_id] for trial_id in self.oracle.start_order]

    def run_trial(self, trial: Any, *fit_args: Any, **fit_kwargs: Any) -> dict[str, float]:
        """Train with the trial's values.

        Returns:
            The trained model's measures on the whole eval split, and the seconds that it took.

        Raises:
            FailedTrialError: The values are not allowed, or the network does not learn.
            FatalError: An error that other values would not avoid.
        """
        began = time.monotonic()
        values = _read_trial(trial)
        logger.info("trial %d/%d: %s", int(trial.trial_id) + 1, self.config.trials, format_values(values))
        folder = os.path.join(self.get_trial_dir(trial.trial_id), "checkpoints")
        try:
            measured = self._measure(trial, values, folder)
        except (MiranteError, ValidationError) as e:
            raise keras_tuner.errors.FailedTrialError(_format_error(e)) from e
        except tf.errors.ResourceExhaustedError as e:
            if disk_full_error(e, [Path(folder)]):
                raise keras_tuner.errors.FatalError(_format_error(e)) from e
            raise keras_tuner.errors.FailedTrialError(f"too little memory: {_format_error(e)}") from e
        except Exception as e:
            raise keras_tuner.errors.FatalError(_format_error(e)) from e
        return {**measured, "seconds": time.monotonic() - began}

    def _measure(self, trial: Any, values: dict[str, Any], folder: str) -> dict[str, float]:
        model_config, training = make_settings(self._parts, {**self._epochs(trial), **values})
        find_batch_size(training, self._place.num_replicas)
        checkpoints = Checkpoints(folder, training.checkpoints)
        checkpoints.discard_damaged()
        material = self._material
        run = Run(
            material.make_trainee(model_config, training),
            material.train,
            material.evaluation,
            training,
            self._place,
            checkpoints,
            Trackers(),
            material.levels,
        )
        model = train(model_config, material, run, os.path.join(folder, "report"))
        # By the plain loss: those of trials that choose other options of a loss could not be compared.
        trainee = material.make_trainee(model_config, TrainingConfig())
        result = build_evaluate(model, trainee, material.evaluation, training, self._place)()
        if not math.isfinite(result.loss):
            raise MiranteError(f"diverged: the eval loss is {result.loss}")
        measured = {f"eval_{name}": value for name, value in {"loss": result.loss, **result.metrics}.items()}
        return {name: float(value) for name, value in measured.items() if name in self._measures}

    def _epochs(self, trial: Any) -> dict[str, int]:
        if self.config.algorithm == "hyperband":
            return {_EPOCHS_FIELD: trial.hyperparameters.values[_EPOCHS]}
        return {_EPOCHS_FIELD: self.config.epochs} if self.config.epochs else {}

    def on_trial_end(self, trial: Any) -> None:
        """Log a trial's end and remove its checkpoints."""
        super().on_trial_end(trial)
        number = int(trial.trial_id) + 1
        ended = self.oracle.trials[trial.trial_id]
        if ended.status == TrialStatus.COMPLETED:
            measured = ", ".join(f"{name} {_best_value(ended, name):.4f}" for name in self._measures[:2])
            logger.info("trial %d: %s, %.1f s", number, measured, _best_value(ended, "seconds"))
        else:
            logger.info("trial %d failed: %s", number, _find_reason(ended))
        checkpoints = os.path.join(self.get_trial_dir(trial.trial_id), "checkpoints")
        if tf.io.gfile.exists(checkpoints):
            tf.io.gfile.rmtree(checkpoints)
        # The graphs of a training refer to each other: they would stay until there is little memory left.
        gc.collect()

    def table(self) -> str:
        """Return all trials as CSV: number, status, values, measures, and why a trial failed."""
        fields = sorted(self.config.fields)
        epochs = ["epochs"] if self.config.algorithm == "hyperband" else []
        rows = []
        for number, trial in enumerate(self.trials(), start=1):
            values = _read_trial(trial)
            done = trial.status == TrialStatus.COMPLETED
            rows.append(
                [
                    number,
                    "completed" if done else "failed",
                    *(values[name] for name in fields),
                    *(trial.hyperparameters.values[_EPOCHS] for _ in epochs),
                    *(_best_value(trial, name) if done else "" for name in self._measures),
                    "" if done else _find_reason(trial),
                ]
            )
        return format_table(["trial", "status", *fields, *epochs, *self._measures, "reason"], rows)

    def _summary(self) -> str:
        """Format the trials for the log, the best first."""
        best = [
            t for t in self.oracle.get_best_trials(len(self.trials())) if t.status == TrialStatus.COMPLETED
        ]
        failed = [trial for trial in self.trials() if trial.status != TrialStatus.COMPLETED]
        lines = [f"{len(best)} trials, best {self.config.objective} first; {len(failed)} failed"]
        for trial in best:
            number = int(trial.trial_id) + 1
            measured = "  ".join(f"{name} {_best_value(trial, name):.4f}" for name in self._measures[:2])
            secs = f"{_best_value(trial, 'seconds'):.1f} s"
            lines.append(f"  trial {number:<4} {measured}  {secs:>9}  {format_values(_read_trial(trial))}")
        return "\n".join(lines)


def _read_trial(trial: Any) -> dict[str, Any]:
    """Return the trial's values by the fields' names."""
    return read_values({"values": trial.hyperparameters.values})


def _best_value(trial: Any, name: str) -> float:
    return float(trial.metrics.get_best_value(name))


def _find_reason(trial: Any) -> str:
    """Return why a trial failed: the last line of KerasTuner's traceback, without the error's name."""
    last: str = trial.message.strip().splitlines()[-1]
    return last.partition("Error: ")[2]


def _format_error(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, item['loc']))} {item['msg'].removeprefix('Value error, ')}".strip()
            for item in error.errors(include_url=False)
        )
    return " ".join(str(error).split()) or type(error).__name__
