"""One training, as data: what TFX's arguments say, which every process of a cluster must know."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from components.base.settings import not_searched
from components.trainer.config import TrainingConfig
from components.trainer.fields import format_values, put, read_values
from components.trainer.warm_start.start import source_digest

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

logger = logging.getLogger("mirante.trainer")


@dataclasses.dataclass(frozen=True)
class Job:
    """A training as data: all that determines it, and where its results go. It can be written as JSON.

    Attributes:
        train_files: Patterns of the `train` split's TFRecord files.
        eval_files: Patterns of the `eval` split's.
        transform_output: Transform's folder.
        schema_path: The schema, with the classes.
        custom_config: The recipe's `task` and its parts `transform`, `model` and `training`; whatever else
            distinguishes one training from another; and in `about` its name: `recipe` and `data`.
        serving_model_dir: Where the SavedModel goes.
        model_run_dir: Where curves and the Keras model go.
        base_model: The SavedModel that was blessed last, where the training is to start from it.
    """

    train_files: Sequence[str]
    eval_files: Sequence[str]
    transform_output: str
    schema_path: str
    custom_config: dict[str, Any]
    serving_model_dir: str
    model_run_dir: str
    base_model: str | None = None

    @classmethod
    def of(cls, fn_args: FnArgs) -> Job:
        """Build the job from TFX's arguments, with the Tuner's values applied."""
        job = cls(**{field.name: getattr(fn_args, field.name) for field in dataclasses.fields(cls)})
        if not fn_args.hyperparameters:
            return job
        values = read_values(fn_args.hyperparameters)
        logger.info("as the search chose: %s", format_values(values))
        return dataclasses.replace(job, custom_config=put(job.custom_config, values))

    @property
    def name(self) -> str:
        """A name derived from everything that determines the training, and from nothing else."""
        files = sorted(
            (name, tf.io.gfile.stat(name).length)
            for patterns in (self.train_files, self.eval_files)
            for pattern in patterns
            for name in tf.io.gfile.glob(pattern)
        )
        # How often it is saved and how long the guard waits make no difference to the model.
        marks = not_searched(TrainingConfig)
        training = {
            key: value
            for key, value in self.custom_config["training"].items()
            if key not in marks or not marks[key].same_model
        }
        determines = {**self.custom_config, "training": training}
        for key in ("checkpoints", "about"):
            determines.pop(key, None)
        start = source_digest(TrainingConfig.model_validate(training), self.base_model)
        if start is not None:
            determines["warm_start"] = [self.base_model, start]
        text = json.dumps([files, self.transform_output, self.schema_path, determines], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
