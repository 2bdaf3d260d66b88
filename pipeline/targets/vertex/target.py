"""The target Vertex AI: what TFX's Kubeflow V2 runner is given in place of what it cannot compile.

Vertex AI has no ML Metadata store that Mirante's resolvers could ask, and no files of this machine. It trains
and serves with services of its own, which TFX's extensions call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfx.components.example_gen.import_example_gen.component import ImportExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.types import Channel, standard_artifacts

from components.base.errors import UsageError
from components.example_gen.component import CONTENT, input_config
from components.example_gen.executor import ShardExecutor
from components.schema_gen.component import CuratedSchema
from pipeline.data.examples import Examples
from pipeline.recipe.recipe import Recipe
from pipeline.target import Target
from pipeline.targets.vertex.config import (
    AcceleratorConfig,
    DeploymentConfig,
    TrainingJobConfig,
    VertexConfig,
)


class Vertex(Target):
    """Vertex AI.

    Args:
        config: The recipe's part `vertex`.
        image: The image of all containers.
    """

    def __init__(self, config: VertexConfig, image: str):
        self.config = config
        self.image = image

    def pipeline_name(self, recipe: Recipe) -> str:
        """Return the recipe's name without underscores, which Vertex refuses."""
        return recipe.name.replace("_", "-")

    def example_gen(self, examples: Examples) -> BaseNode:
        """Build TFX's node with our executor; its driver has a container of its own there."""
        example_gen = ImportExampleGen(
            input_base=self.config.data_root, input_config=input_config(examples.patterns)
        )
        example_gen.exec_properties[CONTENT] = examples.content
        example_gen.executor_spec = executor_spec.BeamExecutorSpec(ShardExecutor)
        return example_gen

    def schema_gen(self, schema_file: str) -> BaseNode:
        """Build a node with the schema as text: the containers do not have this machine's file."""
        text = Path(schema_file).read_text(encoding="utf-8")
        return CuratedSchema(text=text)

    def warm_start_digest(self, recipe: Recipe, push_destination: str) -> dict[str, str]:
        """Return nothing: no bucket is looked into when a pipeline is compiled."""
        return {}

    def resolver(self, node_id: str, strategy: type, config: dict[str, Any], **channels: Channel) -> BaseNode:
        """Build TFX's resolver of the latest blessed model, the only one that Vertex has."""
        return Resolver(
            strategy_class=LatestBlessedModelStrategy,
            model=Channel(type=standard_artifacts.Model),
            model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        ).with_id(node_id)

    def trainer(self, custom_config: dict[str, Any], **arguments: Any) -> BaseNode:
        """Build the node that trains in its task, or in a job where the recipe asks for one."""
        if self.config.training is None:
            return super().trainer(custom_config, **arguments)
        from tfx.extensions.google_cloud_ai_platform.trainer.component import Trainer

        job = _build_training_job(self.config.training, self)
        return Trainer(custom_config={**custom_config, **job}, **arguments)

    def pusher(
        self,
        push_destination: str,
        also: Sequence[str],
        card: Mapping[str, Any],
        measured: Mapping[str, Channel | None],
        **blessed: Channel,
    ) -> BaseNode:
        """Build the node that pushes to a bucket, or to an endpoint where the recipe asks for one.

        An endpoint has no place for a model card.

        Raises:
            UsageError: The recipe asks for an endpoint and for further stores.
        """
        if self.config.deployment is None:
            return super().pusher(push_destination, also, card, measured, **blessed)
        if also:
            raise UsageError(
                "push.also: expected no store with vertex.deployment, which deploys to an endpoint"
            )
        from tfx.extensions.google_cloud_ai_platform.pusher.component import Pusher

        return Pusher(custom_config=_build_deployment(self.config.deployment, self), **blessed)


def _build_training_job(training: TrainingJobConfig, on: Vertex) -> dict[str, Any]:
    """Return what TFX's extension of the Trainer reads in custom_config: a CustomJob of Vertex's API."""
    from tfx.extensions.google_cloud_ai_platform import constants
    from tfx.extensions.google_cloud_ai_platform.trainer import executor

    job: dict[str, Any] = {
        "worker_pool_specs": [
            {
                "machine_spec": {
                    "machine_type": training.machine_type,
                    **_build_accelerator(training.accelerator),
                },
                "replica_count": 1,
                "container_spec": {"image_uri": on.image},
            }
        ]
    }
    if on.config.service_account:
        job["service_account"] = on.config.service_account
    return {
        constants.ENABLE_VERTEX_KEY: True,
        constants.VERTEX_REGION_KEY: on.config.region,
        executor.TRAINING_ARGS_KEY: {"project": on.config.project, "job_spec": job},
    }


def _build_deployment(wanted: DeploymentConfig, on: Vertex) -> dict[str, Any]:
    """Return what TFX's extension of the Pusher reads: arguments of the SDK's `Model.deploy`."""
    from tfx.extensions.google_cloud_ai_platform import constants

    arguments: dict[str, Any] = {
        "project": on.config.project,
        "endpoint_name": wanted.endpoint,
        "machine_type": wanted.machine_type,
        "min_replica_count": wanted.min_replicas,
        "max_replica_count": wanted.max_replicas,
        **_build_accelerator(wanted.accelerator),
    }
    if on.config.service_account:
        arguments["service_account"] = on.config.service_account
    return {
        constants.ENABLE_VERTEX_KEY: True,
        constants.VERTEX_REGION_KEY: on.config.region,
        constants.VERTEX_CONTAINER_IMAGE_URI_KEY: wanted.serving_image,
        constants.SERVING_ARGS_KEY: arguments,
    }


def _build_accelerator(asked: AcceleratorConfig | None) -> dict[str, Any]:
    if asked is None:
        return {}
    return {"accelerator_type": asked.type, "accelerator_count": asked.count}
