"""What a training is made from: examples, classes, and the Transform graph."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow_data_validation as tfdv
import tensorflow_transform as tft

from components.base.errors import UsageError
from components.base.task import part, task_named
from components.models.config import ModelConfig
from components.trainer.config import TrainingConfig
from components.trainer.input.split import SplitInput
from components.trainer.job import Job
from components.trainer.trainee import TaskTrainer, Trainee
from components.transform.config import TransformConfig
from components.transform.levels import Levels, measured_levels
from schemas import features
from schemas.curated import class_names_of


@dataclasses.dataclass(frozen=True)
class Material:
    """Examples, classes and Transform graph, decoded once for any number of trainings.

    Attributes:
        tft_output: The Transform graph.
        task: The recipe's `task`.
        class_names: In the order of the labels.
        input_shape: Height and width in pixels, and channels.
        train: The examples to learn from.
        evaluation: The examples that steer the training.
        levels: What Transform makes of black and white, for augmentation and images.
        base_model: As the job has it.
    """

    tft_output: tft.TFTransformOutput
    task: str
    class_names: list[str]
    input_shape: tuple[int, int, int]
    train: SplitInput
    evaluation: SplitInput
    levels: Levels
    base_model: str | None

    @classmethod
    def of(cls, job: Job, training: TrainingConfig) -> Material:
        """Read what a job names; pixels are kept where `training` says.

        Raises:
            UsageError: The examples are of another task than the recipe.
            MiranteError: A split has no records.
        """
        task = job.custom_config["task"]
        transform = TransformConfig.model_validate(job.custom_config["transform"])
        tft_output = tft.TFTransformOutput(job.transform_output)
        class_names = _read_classes(task, job.schema_path)
        input_shape = (transform.height_px, transform.width_px, transform.channels)
        model = ModelConfig.model_validate(job.custom_config["model"])
        trainee = _make_trainee(task, class_names, model, training, input_shape)
        return cls(
            tft_output,
            task,
            class_names,
            input_shape,
            SplitInput(features.TRAIN, list(job.train_files), tft_output, trainee, training),
            SplitInput(features.EVAL, list(job.eval_files), tft_output, trainee, training),
            measured_levels(tft_output, transform),
            job.base_model,
        )

    def make_trainee(self, model: ModelConfig, training: TrainingConfig) -> Trainee:
        """Return what is learned with these settings."""
        return _make_trainee(self.task, self.class_names, model, training, self.input_shape)


def _read_classes(task: str, schema_path: str) -> list[str]:
    schema: Any = tfdv.load_schema_text(schema_path)
    text = task_named(task).text
    if text not in {feature.name for feature in schema.feature}:
        raise UsageError(
            f"task: {task} needs examples with the feature {text}, and their schema has none: give other "
            "data, or the task and the network that the data are for"
        )
    return class_names_of(schema, text)


def _make_trainee(
    task: str,
    class_names: list[str],
    model: ModelConfig,
    training: TrainingConfig,
    input_shape: tuple[int, int, int],
) -> Trainee:
    asked: TaskTrainer = part(task, "trainer")
    return asked.make_trainee(class_names, model, training, input_shape)
