"""The nodes of a recipe's pipeline and their order, told without importing TFX.

`pipeline.definition` has them too, as what they are; tests hold the two together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.recipe.recipe import Recipe

# Of every recipe, in the order in which they run; `node_ids` adds what some recipes have.
NODE_IDS = (
    "ImportExampleGen",
    "ImportSchemaGen",
    "StatisticsGen",
    "DistributionValidator",
    "ExampleValidator",
    "DataGate",
    "Transform",
    "Trainer",
    "InfraValidator",
    "Resolver",
    "Evaluator",
    "Pusher",
)
OPTIONAL_NODE_IDS = ("BaseModelResolver", "Tuner")

# What each node reads from, or waits for; of the optional ones those that a recipe has.
_UPSTREAM = {
    "ImportExampleGen": (),
    "ImportSchemaGen": (),
    "StatisticsGen": ("ImportExampleGen", "ImportSchemaGen"),
    "DistributionValidator": ("StatisticsGen",),
    "ExampleValidator": ("ImportSchemaGen", "StatisticsGen"),
    "DataGate": ("ImportExampleGen", "StatisticsGen", "DistributionValidator", "ExampleValidator"),
    "Transform": ("ImportExampleGen", "ImportSchemaGen", "DataGate"),
    "BaseModelResolver": ("ImportExampleGen", "ImportSchemaGen", "Transform"),
    "Tuner": ("ImportExampleGen", "ImportSchemaGen", "Transform", "BaseModelResolver"),
    "Trainer": ("ImportExampleGen", "ImportSchemaGen", "Transform", "BaseModelResolver", "Tuner"),
    "InfraValidator": ("ImportExampleGen", "Trainer"),
    "Resolver": ("Trainer",),
    "Evaluator": ("ImportExampleGen", "Trainer", "Resolver"),
    "Pusher": ("Trainer", "InfraValidator", "Evaluator"),
}


def node_ids(recipe: Recipe) -> tuple[str, ...]:
    """The nodes of a recipe's pipeline, in the order in which they run."""
    ids = list(NODE_IDS)
    warm_start = recipe.training.warm_start
    if warm_start is not None and warm_start.is_latest_blessed:
        ids.insert(ids.index("Trainer"), "BaseModelResolver")
    if recipe.tuner is not None:
        ids.insert(ids.index("Trainer"), "Tuner")
    return tuple(ids)


def upstream(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """For each node of a recipe's pipeline, in the order in which they run, those that must have run."""
    ids = node_ids(recipe)
    return {node_id: tuple(other for other in _UPSTREAM[node_id] if other in ids) for node_id in ids}
