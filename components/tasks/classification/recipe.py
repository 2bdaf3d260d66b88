"""What a classifier's recipe must not ask for. Imports no TensorFlow."""

from components.evaluator.config import EvaluationConfig
from components.models.config import ModelConfig
from components.tasks.classification import TASK
from components.trainer.augment.config import AugmentationConfig
from components.trainer.config import TrainingConfig
from components.tuner.config import TunerConfig, check_objective

# Options of `training.augmentation` that are for boxes.
_FOR_BOXES = ("zoom_out", "object_crop")


def check(
    model: ModelConfig, training: TrainingConfig, tuner: TunerConfig | None, evaluation: EvaluationConfig
) -> None:
    """Refuse what a classifier has no use for.

    Raises:
        ValueError: The message names the key, and what to give instead.
    """
    if model.network is not None and model.network.task != TASK.name:
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
    if training.label_threshold != TrainingConfig.model_fields["label_threshold"].default:
        raise ValueError(
            f"training.label_threshold: it is for task: multilabel, got {training.label_threshold}; leave it "
            "out"
        )
