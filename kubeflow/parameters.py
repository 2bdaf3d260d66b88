"""Parameters that an operator can set in the form of a run: useful keys of the recipe with their defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from pipeline.recipe.recipe import Recipe

OVERRIDES = "overrides"


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter of the compiled pipeline.

    Attributes:
        name: In the run's form.
        key: Key of the recipe, such as `training.epochs`; None for a parameter that is not one.
        kind: str, int, float, bool or dict.
        default: Its value if the operator does not change it; an empty text stands for null.
        description: For the form.
    """

    name: str
    key: str | None
    kind: type
    default: Any
    description: str


# Name, key and description of parameters that exist if the recipe has a value for the key.
_KNOBS = (
    ("epochs", "training.epochs", "Epochs of training."),
    ("fine_tune_epochs", "training.fine_tune_epochs", "Epochs with all layers."),
    (
        "fine_tune_learning_rate",
        "training.fine_tune_learning_rate",
        "Learning rate of the epochs with all layers.",
    ),
    ("learning_rate", "training.learning_rate", "Learning rate."),
    ("global_batch_size", "training.global_batch_size", "Images per step, all replicas together."),
    ("seed", "training.seed", "Random seed."),
    ("model_weights", "model.weights", "A weights file, or imagenet (a download)."),
    ("trials", "tuner.trials", "Number of trainings in the search."),
)


def parameters(recipe: Recipe, pipeline_root: str) -> list[Parameter]:
    """Return the parameters of a recipe's pipeline, in the order of the form."""
    root = "Folder on a volume or in a bucket (gs://, s3://) for artifacts, metadata and models."
    data = "Raw images or ingested TFRecords, also in gs:// and s3://; with {SPAN} the newest of several."
    pushed = "Folder of versions that TF Serving reads; <pipeline_root>/serving when empty."
    cache = "Whether nodes with unchanged inputs keep the results of earlier runs; false executes every node."
    more = 'Other keys of the recipe, such as {"training.patience_epochs": 3}.'
    values = recipe.model_dump()
    return [
        Parameter("pipeline_root", None, str, pipeline_root, root),
        Parameter("data_root", "data.path", str, recipe.data.path or "", data),
        *_list_knobs(recipe, values),
        *_list_bounds(recipe),
        Parameter("push_destination", "push.destination", str, recipe.push.destination or "", pushed),
        Parameter("use_cache", "use_cache", bool, recipe.use_cache, cache),
        Parameter(OVERRIDES, None, dict, {}, more),
    ]


def _list_knobs(recipe: Recipe, values: dict[str, Any]) -> Iterator[Parameter]:
    for name, key, description in _KNOBS:
        if name.startswith("fine_tune") and not recipe.training.fine_tune_epochs:
            continue
        part, field = key.split(".")
        value = (values[part] or {}).get(field)
        if value is not None:
            yield Parameter(name, key, type(value), value, description)


def _list_bounds(recipe: Recipe) -> Iterator[Parameter]:
    for metric, value in recipe.evaluation.thresholds.items():
        said = f"{'Upper' if metric == 'loss' else 'Lower'} bound of {metric} on the test split."
        yield Parameter(f"threshold_{metric}", f"evaluation.thresholds.{metric}", float, value, said)
    for metric, value in recipe.evaluation.max_regression.items():
        said = f"How much worse than the baseline {metric} may be."
        yield Parameter(f"max_regression_{metric}", f"evaluation.max_regression.{metric}", float, value, said)
