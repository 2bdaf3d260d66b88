"""What an operator can set in the form of a run: the recipe's useful knobs, each with its default."""

from __future__ import annotations

import dataclasses
from typing import Any

from pipeline.config import Recipe

OVERRIDES = "overrides"


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter of the compiled pipeline.

    Attributes:
        name: In the run's form.
        key: Of the recipe, such as `training.epochs`; None for what is no key of it.
        kind: str, int, float or dict.
        default: Its value when the operator leaves it alone; an empty text stands for null.
        description: For the form.
    """

    name: str
    key: str | None
    kind: type
    default: Any
    description: str


def parameters(recipe: Recipe, pipeline_root: str) -> list[Parameter]:
    """The parameters of a recipe's pipeline, in the order of the form."""
    training, model = recipe.training, recipe.model
    found = [
        Parameter(
            "pipeline_root", None, str, pipeline_root, "Folder on a volume: artifacts, metadata, models."
        ),
        Parameter(
            "data_root", "data.path", str, recipe.data.path or "", "Raw images, or contract TFRecords."
        ),
        Parameter("epochs", "training.epochs", int, training.epochs, "Epochs of training."),
    ]
    if training.fine_tune_epochs:
        found += [
            Parameter(
                "fine_tune_epochs",
                "training.fine_tune_epochs",
                int,
                training.fine_tune_epochs,
                "Epochs with all layers.",
            ),
            Parameter(
                "fine_tune_learning_rate",
                "training.fine_tune_learning_rate",
                float,
                training.fine_tune_learning_rate,
                "Learning rate of those.",
            ),
        ]
    found.append(
        Parameter("learning_rate", "training.learning_rate", float, training.learning_rate, "Learning rate.")
    )
    if training.global_batch_size:
        found.append(
            Parameter(
                "global_batch_size",
                "training.global_batch_size",
                int,
                training.global_batch_size,
                "Images in a step, of all replicas together.",
            )
        )
    found.append(
        Parameter("seed", "training.seed", int, training.seed, "Of everything that is drawn by chance.")
    )
    if model.weights is not None:
        found.append(
            Parameter(
                "model_weights",
                "model.weights",
                str,
                model.weights,
                "A weights file, or imagenet (a download).",
            )
        )
    if recipe.tuner is not None:
        found.append(
            Parameter("trials", "tuner.trials", int, recipe.tuner.trials, "Trainings of the search.")
        )
    for part, word in (("thresholds", "threshold"), ("max_regression", "max_regression")):
        for metric, value in getattr(recipe.evaluation, part).items():
            bound = "Upper" if metric == "loss" else "Lower"
            said = f"{bound} bound of {metric} on the test split."
            if word == "max_regression":
                said = f"How much worse than the baseline {metric} may be."
            found.append(Parameter(f"{word}_{metric}", f"evaluation.{part}.{metric}", float, value, said))
    found += [
        Parameter(
            "push_destination",
            "push.destination",
            str,
            recipe.push.destination or "",
            "Versioned folder of TF Serving; <pipeline_root>/serving when empty.",
        ),
        Parameter(
            OVERRIDES, None, dict, {}, 'Any other keys of the recipe, as {"training.patience_epochs": 3}.'
        ),
    ]
    return found
