"""What a detector's recipe must not ask for. Imports no TensorFlow."""

from components.evaluator.config import EvaluationConfig
from components.models.config import ModelConfig
from components.models.networks import networks_for, shorten_names
from components.tasks.detection import TASK
from components.trainer.augment.config import AugmentationConfig
from components.trainer.config import TrainingConfig
from components.tuner.config import TunerConfig, check_objective

# Options of `training.augmentation` that move pixels and not boxes, or that no box goes along with.
_WITHOUT_BOXES = (
    "translation",
    "crop",
    "zoom",
    "rotation",
    "rand_augment",
    "trivial_augment",
    "mix_up",
    "cut_mix",
)


def check(
    model: ModelConfig, training: TrainingConfig, tuner: TunerConfig | None, evaluation: EvaluationConfig
) -> None:
    """Refuse what a detector has no use for.

    Raises:
        ValueError: The message names the key, and what to give instead.
    """
    if model.network is None or model.network.task != TASK.name:
        other = model.network.task if model.network else "classification"
        raise ValueError(
            f"model.name: {model.name} is for {other}, and task is {TASK.name}: take "
            f"{', '.join(shorten_names(networks_for(TASK.name)))}"
        )
    nothing = AugmentationConfig()
    for name in _WITHOUT_BOXES:
        if getattr(training.augmentation, name) != getattr(nothing, name):
            raise ValueError(
                f"training.augmentation.{name}: it is for task: classification; boxes go along with flip, "
                "zoom_out, object_crop, colours and erasing"
            )
    check_objective(tuner, TASK)
    if training.label_threshold != TrainingConfig.model_fields["label_threshold"].default:
        raise ValueError(
            f"training.label_threshold: it is for task: multilabel, got {training.label_threshold}; leave it "
            "out"
        )
    if training.label_smoothing:
        raise ValueError(
            f"training.label_smoothing: a detector's losses know none, got {training.label_smoothing}: leave "
            "it out"
        )
    for key in ("class_weights", "sampling"):
        value, default = getattr(training, key), TrainingConfig.model_fields[key].default
        if value != default:
            raise ValueError(
                f"training.{key}: expected {default} for task: {TASK.name}, whose images have objects of "
                f"several classes, got {value}; leave it out"
            )
    if evaluation.slice_by_class:
        raise ValueError(
            f"evaluation.slice_by_class: an image of task: {TASK.name} is of no one class; leave it out, "
            "every class is judged by itself anyway"
        )
