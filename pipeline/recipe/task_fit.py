"""Whether the parts of a recipe are for its task. Imports no TensorFlow."""

from __future__ import annotations

from components.models.config import DETECTORS, ModelConfig
from components.trainer.augment.config import AugmentationConfig
from components.trainer.config import TrainingConfig
from components.tuner.config import TunerConfig

# Options of `training.augmentation` that move pixels and not boxes, or that no box goes along with.
_WITHOUT_BOXES = ("translation", "crop", "zoom", "rotation", "rand_augment", "mix_up", "cut_mix")
_WITH_BOXES = ("zoom_out", "object_crop")


def check_fits_task(
    task: str,
    model: ModelConfig,
    training: TrainingConfig,
    tuner: TunerConfig | None,
) -> None:
    """Refuses what the task has no use for.

    Raises:
        ValueError: It names the key, and what to give instead.
    """
    is_detection = task == "detection"
    if model.task != task:
        instead = f"take {', '.join(DETECTORS)}" if is_detection else "take another one, or task: detection"
        raise ValueError(f"model.name: {model.name} is for {model.task}, and task is {task}: {instead}")
    nothing = AugmentationConfig()
    for name in _WITHOUT_BOXES if is_detection else _WITH_BOXES:
        if getattr(training.augmentation, name) == getattr(nothing, name):
            continue
        raise ValueError(
            f"training.augmentation.{name}: it is for task: "
            + (
                f"classification; boxes go along with flip, {', '.join(_WITH_BOXES)}, colours and erasing"
                if is_detection
                else "detection; for classification take crop and zoom"
            )
        )
    if tuner is not None and tuner.objective == ("eval_accuracy" if is_detection else "eval_map_50"):
        fitting = "eval_map_50" if is_detection else "eval_accuracy"
        raise ValueError(
            f"tuner.objective: {tuner.objective} is not measured for task: {task}; take {fitting} or "
            "eval_loss"
        )
    if not is_detection:
        return
    if training.label_smoothing:
        raise ValueError(
            f"training.label_smoothing: a detector's losses know none, got {training.label_smoothing}: leave "
            "it out"
        )
