"""What a recipe for multilabel classification must not ask for. Imports no TensorFlow."""

from components.evaluator.config import EvaluationConfig
from components.models.config import ModelConfig
from components.tasks.multilabel import TASK
from components.trainer.augment.config import AugmentationConfig
from components.trainer.config import TrainingConfig
from components.tuner.config import TunerConfig, check_objective
from schemas import features

# Options of `training.augmentation` that are for boxes.
_FOR_BOXES = ("zoom_out", "object_crop")


def check(
    model: ModelConfig, training: TrainingConfig, tuner: TunerConfig | None, evaluation: EvaluationConfig
) -> None:
    """Refuse what several classes for each image have no use for.

    Raises:
        ValueError: The message names the key, and what to give instead.
    """
    # Networks for one class have one output for each class, which is what this task takes.
    if model.network is not None and model.network.task != features.CLASSIFICATION:
        raise ValueError(
            f"model.name: {model.name} is for {model.network.task}, and task is {TASK.name}: take another "
            f"one, or task: {model.network.task}"
        )
    nothing = AugmentationConfig()
    for name in _FOR_BOXES:
        if getattr(training.augmentation, name) != getattr(nothing, name):
            raise ValueError(
                f"training.augmentation.{name}: it is for task: detection; for {TASK.name} take crop and zoom"
            )
    check_objective(tuner, TASK)
    if training.sampling != "shuffled":
        raise ValueError(
            f"training.sampling: expected shuffled for task: {TASK.name}, whose images have several classes, "
            f"got {training.sampling}; take class_weights: balanced"
        )
    if evaluation.slice_by_class:
        raise ValueError(
            f"evaluation.slice_by_class: an image of task: {TASK.name} is of no one class; leave it out, "
            "every class is judged by itself anyway"
        )
