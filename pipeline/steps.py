"""The nodes of a pipeline: a table with one row per node. Imports neither TFX nor TensorFlow.

`pipeline.definition` builds the same nodes as TFX's components; tests compare the two.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Step:
    """A node of the pipeline.

    Attributes:
        id: The node's name in TFX.
        room: The package of the step. Its module `page` makes the node's page.
        after: The nodes that it reads from or waits for; optional ones count where a recipe has them.
        optional: The name in `Recipe.optional_steps` of a node that only some recipes have.
        has_outcome: Whether the room's module `outcome` reads what the node found out about the model.
        shows: What the node shows in Kubeflow's UI besides its page: `metrics`, `classification`.
        keeps: The folder below the pipeline root with its work so far, which outlives a killed process.
        reads: The files besides artifacts that it reads: the `shards`, the `schema`, pretrained `weights`.
        looks_at: The files that decide whether it has to run, besides its inputs: the sizes and times of the
            `shards`, which `models` were trained and are served, the served `versions`.
        code: The modules whose code decides its result, together with all that they import.
        libraries: The libraries that decide its result, besides TFX, TensorFlow and those that `code`
            imports.
    """

    id: str
    room: str
    after: tuple[str, ...] = ()
    optional: str = ""
    has_outcome: bool = False
    shows: tuple[Literal["metrics", "classification"], ...] = ()
    keeps: str = ""
    reads: Literal["", "shards", "schema", "weights"] = ""
    looks_at: Literal["", "shards", "models", "versions"] = ""
    code: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()

    @property
    def is_resolver(self) -> bool:
        """Return whether the node only looks for a model: it executes nothing, and is never cached."""
        return self.looks_at == "models"

    @property
    def is_pusher(self) -> bool:
        """Return whether the node adds a version to the push destination."""
        return self.looks_at == "versions"


# The Kubeflow task that comes before all nodes: it checks the parameters and ingests.
INGEST = Step("Ingest", "components.ingest")
# In the order in which they run.
STEPS = (
    Step(
        "ImportExampleGen",
        "components.example_gen",
        reads="shards",
        looks_at="shards",
        code=("components.example_gen.component",),
        libraries=("apache_beam",),
    ),
    Step(
        "ImportSchemaGen",
        "components.schema_gen",
        reads="schema",
        code=("components.schema_gen.component",),
    ),
    Step(
        "StatisticsGen",
        "components.statistics_gen",
        after=("ImportExampleGen", "ImportSchemaGen"),
        libraries=("apache_beam", "tensorflow_data_validation", "tfx_bsl"),
    ),
    Step(
        "DistributionValidator",
        "components.distribution_validator",
        after=("StatisticsGen",),
        code=("components.distribution_validator.component",),
        libraries=("tensorflow_data_validation",),
    ),
    Step(
        "ExampleValidator",
        "components.example_validator",
        after=("ImportSchemaGen", "StatisticsGen"),
        libraries=("tensorflow_data_validation",),
    ),
    Step(
        "DataGate",
        "components.data_gate",
        after=("ImportExampleGen", "StatisticsGen", "DistributionValidator", "ExampleValidator"),
        code=("components.data_gate.component",),
    ),
    Step(
        "Transform",
        "components.transform",
        after=("ImportExampleGen", "ImportSchemaGen", "DataGate"),
        code=("components.transform",),
        libraries=("apache_beam", "tensorflow_transform", "tfx_bsl"),
    ),
    Step(
        "BaseModelResolver",
        "components.trainer.warm_start",
        after=("ImportExampleGen", "ImportSchemaGen", "Transform"),
        optional="base_model",
        looks_at="models",
    ),
    Step(
        "Tuner",
        "components.tuner",
        after=("ImportExampleGen", "ImportSchemaGen", "Transform", "BaseModelResolver"),
        optional="tuner",
        has_outcome=True,
        keeps="searches",
        reads="weights",
        code=("components.tuner",),
    ),
    Step(
        "Trainer",
        "components.trainer",
        after=("ImportExampleGen", "ImportSchemaGen", "Transform", "BaseModelResolver", "Tuner"),
        shows=("metrics",),
        keeps="checkpoints",
        reads="weights",
        code=("components.trainer",),
    ),
    Step(
        "InfraValidator",
        "components.infra_validator",
        after=("ImportExampleGen", "Trainer"),
        has_outcome=True,
        code=("components.infra_validator.component",),
    ),
    Step(
        "Resolver",
        "components.resolver",
        after=("Trainer",),
        has_outcome=True,
        looks_at="models",
    ),
    Step(
        "Evaluator",
        "components.evaluator",
        after=("ImportExampleGen", "Trainer", "Resolver"),
        has_outcome=True,
        shows=("metrics", "classification"),
        code=("components.evaluator.component",),
        libraries=("tensorflow_model_analysis", "tfx_bsl"),
    ),
    Step(
        "Pusher",
        "components.pusher",
        after=("Trainer", "InfraValidator", "Evaluator"),
        has_outcome=True,
        looks_at="versions",
        code=("components.pusher.executor",),
    ),
)
_BY_ID = {step.id: step for step in STEPS}
# The artifacts of trained models are below `<root>/<TRAINER>/model`.
TRAINER = "Trainer"


def imports_folder(root: str) -> str:
    """Return the folder, below a pipeline root, for served models that are no artifact of that root."""
    return os.path.join(root, "Resolver", "served")


def step_named(node_id: str) -> Step:
    """Return the row of a node.

    Raises:
        KeyError: There is no such node.
    """
    return _BY_ID[node_id]


def node_ids(optional: Collection[str] = ()) -> tuple[str, ...]:
    """Return the nodes of a pipeline in the order in which they run.

    Args:
        optional: The optional nodes that it has, as `Recipe.optional_steps` names them.
    """
    return tuple(step.id for step in STEPS if not step.optional or step.optional in optional)


def list_upstream(optional: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """Return for each node of a pipeline, in the order in which they run, those that must have run.

    Args:
        optional: As for `node_ids`.
    """
    ids = node_ids(optional)
    return {node_id: tuple(other for other in _BY_ID[node_id].after if other in ids) for node_id in ids}
