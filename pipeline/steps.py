"""The nodes of a pipeline: a table with one row per node. Imports neither TFX nor TensorFlow.

`pipeline.definition` builds the same nodes as TFX's components; tests compare the two.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Sequence
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Artifact:
    """An output of a node.

    Attributes:
        name: What it is called in a run; no two nodes have one of the same name.
        channel: What TFX's node calls it.
        kind: KFP's type for it.
    """

    name: str
    channel: str
    kind: Literal["Dataset", "Model", "Artifact"] = "Artifact"


@dataclasses.dataclass(frozen=True)
class Step:
    """A node of the pipeline.

    Attributes:
        id: The node's name in TFX.
        room: The package of the step. Its module `page` makes the node's page.
        takes: The artifacts that it reads; those of optional nodes count where a recipe has them.
        waits_for: The nodes that it waits for besides, without reading from them.
        gives: The artifacts that it writes.
        is_gate: Whether it ends a run whose data or model are not good enough.
        optional: The name in `Recipe.optional_steps` of a node that only some recipes have.
        has_outcome: Whether the room's module `outcome` reads what the node found out about the model.
        shows: What the node shows in Kubeflow's UI besides its page: `metrics`, `classification`.
        keeps: The folder below the pipeline root with its work so far, which outlives a killed process.
        reads: Files besides artifacts: `shards`, the `schema`, pretrained `weights`, `images` to ask about.
        looks_at: The files that decide whether it has to run, besides its inputs: the sizes and times of the
            `shards`, which `models` were trained and are served, the served `versions`.
        code: The modules whose code decides its result, together with all that they import.
        libraries: Those that decide its result, besides TFX, TensorFlow and those that `code` imports.
        engine_group: The group of nodes for which a recipe may name Beam's engine; empty without Beam.
    """

    id: str
    room: str
    takes: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    gives: tuple[Artifact, ...] = ()
    is_gate: bool = False
    optional: str = ""
    has_outcome: bool = False
    shows: tuple[Literal["metrics", "classification"], ...] = ()
    keeps: str = ""
    reads: Literal["", "shards", "schema", "weights", "images"] = ""
    looks_at: Literal["", "shards", "models", "versions"] = ""
    code: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    engine_group: str = ""

    @property
    def after(self) -> tuple[str, ...]:
        """Return the nodes that it reads from or waits for; optional ones count where a recipe has them."""
        producers = [_PRODUCERS[name] for name in self.takes if _PRODUCERS[name] != INGEST.id]
        return tuple(dict.fromkeys((*producers, *self.waits_for)))

    @property
    def is_resolver(self) -> bool:
        """Return whether the node only looks for a model: it executes nothing, and is never cached."""
        return self.looks_at == "models"

    @property
    def is_pusher(self) -> bool:
        """Return whether the node adds a version to the push destination."""
        return self.looks_at == "versions"


# The Kubeflow task that comes before all nodes: it checks the parameters and ingests.
INGEST = Step(
    "Ingest",
    "components.ingest",
    gives=(Artifact("data", "data", "Dataset"), Artifact("curated_schema", "schema")),
    engine_group="ingest",
)
# In the order in which they run.
STEPS = (
    Step(
        "ImportExampleGen",
        "components.example_gen",
        takes=("data",),
        gives=(Artifact("examples", "examples", "Dataset"),),
        reads="shards",
        looks_at="shards",
        code=("components.example_gen.component",),
        libraries=("apache_beam",),
        engine_group="examples",
    ),
    Step(
        "ImportSchemaGen",
        "components.schema_gen",
        takes=("curated_schema",),
        gives=(Artifact("schema", "schema"),),
        reads="schema",
        code=("components.schema_gen.component",),
    ),
    Step(
        "StatisticsGen",
        "components.statistics_gen",
        takes=("examples", "schema"),
        gives=(Artifact("statistics", "statistics"),),
        libraries=("apache_beam", "tensorflow_data_validation", "tfx_bsl"),
        engine_group="statistics",
    ),
    Step(
        "DistributionValidator",
        "components.distribution_validator",
        takes=("statistics",),
        gives=(Artifact("drift", "anomalies"),),
        code=("components.distribution_validator.component",),
        libraries=("tensorflow_data_validation",),
    ),
    Step(
        "ExampleValidator",
        "components.example_validator",
        takes=("schema", "statistics"),
        gives=(Artifact("anomalies", "anomalies"),),
        libraries=("tensorflow_data_validation",),
    ),
    Step(
        "DataGate",
        "components.data_gate",
        takes=("examples", "statistics", "drift", "anomalies"),
        gives=(Artifact("data_blessing", "blessing"),),
        is_gate=True,
        code=("components.data_gate.component",),
        engine_group="statistics",
    ),
    Step(
        "Transform",
        "components.transform",
        takes=("examples", "schema"),
        waits_for=("DataGate",),
        gives=(Artifact("transform_graph", "transform_graph"),),
        code=("components.transform",),
        libraries=("apache_beam", "tensorflow_transform", "tfx_bsl"),
        engine_group="transform",
    ),
    Step(
        "BaseModelResolver",
        "components.trainer.warm_start",
        takes=("examples", "schema", "transform_graph"),
        gives=(Artifact("base_model", "model", "Model"),),
        optional="base_model",
        looks_at="models",
    ),
    Step(
        "Tuner",
        "components.tuner",
        takes=("examples", "schema", "transform_graph", "base_model"),
        gives=(
            Artifact("best_hyperparameters", "best_hyperparameters"),
            Artifact("tuner_results", "tuner_results"),
        ),
        optional="tuner",
        has_outcome=True,
        keeps="searches",
        reads="weights",
        code=("components.tuner",),
    ),
    Step(
        "Trainer",
        "components.trainer",
        takes=("examples", "schema", "transform_graph", "base_model", "best_hyperparameters"),
        gives=(Artifact("model", "model", "Model"), Artifact("model_run", "model_run")),
        shows=("metrics",),
        keeps="checkpoints",
        reads="weights",
        code=("components.trainer",),
    ),
    Step(
        "InfraValidator",
        "components.infra_validator",
        takes=("examples", "model"),
        gives=(Artifact("infra_blessing", "blessing"),),
        has_outcome=True,
        code=("components.infra_validator.component",),
    ),
    Step(
        "Resolver",
        "components.resolver",
        takes=("model",),
        gives=(Artifact("baseline", "model", "Model"),),
        has_outcome=True,
        looks_at="models",
    ),
    Step(
        "Evaluator",
        "components.evaluator",
        takes=("examples", "model", "baseline"),
        gives=(Artifact("evaluation", "evaluation"), Artifact("blessing", "blessing")),
        has_outcome=True,
        shows=("metrics", "classification"),
        code=("components.evaluator.component",),
        libraries=("tensorflow_model_analysis", "tfx_bsl"),
        engine_group="evaluation",
    ),
    Step(
        "Exporter",
        "components.exporter",
        takes=("examples", "model", "infra_blessing", "blessing"),
        gives=(Artifact("exports", "exports"),),
        is_gate=True,
        optional="export",
        has_outcome=True,
        code=("components.exporter.component",),
    ),
    Step(
        "Pusher",
        "components.pusher",
        takes=("model", "infra_blessing", "evaluation", "blessing", "exports"),
        gives=(Artifact("pushed_model", "pushed_model", "Model"),),
        is_gate=True,
        has_outcome=True,
        looks_at="versions",
        code=("components.pusher.executor",),
    ),
    Step(
        "BulkInference",
        "components.bulk_inference",
        takes=("examples", "model", "infra_blessing", "blessing"),
        waits_for=("Pusher",),
        gives=(Artifact("answers", "inference_result", "Dataset"),),
        optional="bulk_inference",
        has_outcome=True,
        keeps="inferences",
        reads="images",
        code=("components.bulk_inference.component",),
        libraries=("apache_beam",),
        engine_group="bulk_inference",
    ),
)
# The groups of nodes that Beam runs, in the order of the nodes.
ENGINE_GROUPS = tuple(dict.fromkeys(step.engine_group for step in (INGEST, *STEPS) if step.engine_group))
_BY_ID = {step.id: step for step in STEPS}
_PRODUCERS = {artifact.name: step.id for step in (INGEST, *STEPS) for artifact in step.gives}
TRAINER = "Trainer"  # Models that were trained are below `<root>/<TRAINER>/model`.


def imports_folder(root: str) -> str:
    """Return the folder, below a pipeline root, for served models that are no artifact of that root."""
    return os.path.join(root, "Resolver", "served")


def step_named(node_id: str) -> Step:
    """Return the row of a node.

    Raises:
        KeyError: There is no such node.
    """
    return _BY_ID[node_id]


def producer_of(artifact: str) -> str:
    """Return the node that writes an artifact.

    Raises:
        KeyError: None does.
    """
    return _PRODUCERS[artifact]


def name_nodes(nodes: Sequence[str]) -> str:
    """Return a short name for nodes that follow each other, such as `DataGate to Evaluator`."""
    return " and ".join(nodes) if len(nodes) < 3 else f"{nodes[0]} to {nodes[-1]}"


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
