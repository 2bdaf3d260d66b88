"""Where the nodes of a pipeline run: what the definition asks, with the answers for this machine.

The tasks of Kubeflow are this machine elsewhere. `pipeline.targets.vertex.target` answers for Vertex AI.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.components.trainer.component import Trainer
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.types import Channel, standard_artifacts

from components.example_gen.component import ImportExampleGen, input_config
from components.pusher.component import Pusher
from pipeline.data.examples import Examples
from pipeline.digests import warm_start_digest
from pipeline.recipe.recipe import Recipe


class Target:
    """This machine: its files, and one ML Metadata store for all nodes."""

    def pipeline_name(self, recipe: Recipe) -> str:
        """Return the pipeline's name."""
        return recipe.name

    def example_gen(self, examples: Examples) -> BaseNode:
        """Build the node that reads the shards."""
        span = examples.span
        return ImportExampleGen(
            content_sha256=examples.content,
            span=span.number if span else None,
            version=span.version if span else None,
            input_base=str(examples.folder),
            input_config=input_config(examples.patterns),
        )

    def schema_gen(self, schema_file: str) -> BaseNode:
        """Build the node that gives the schema."""
        return ImportSchemaGen(schema_file=schema_file)

    def warm_start_digest(self, recipe: Recipe, push_destination: str) -> dict[str, str]:
        """Return the digest of the weights that a training starts from, where files tell it.

        Raises:
            UsageError: There are no weights there.
        """
        return warm_start_digest(recipe.training.warm_start, push_destination)

    def resolver(self, node_id: str, strategy: type, config: dict[str, Any], **channels: Channel) -> BaseNode:
        """Build a node that looks for a model.

        Args:
            node_id: The node's name.
            strategy: One of `components.resolver.strategies`.
            config: The strategy's.
            channels: The inputs of the strategy besides all models and their blessings.
        """
        return Resolver(
            strategy_class=strategy,
            config=config,
            **channels,
            model=Channel(type=standard_artifacts.Model),
            model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        ).with_id(node_id)

    def trainer(self, custom_config: dict[str, Any], **arguments: Any) -> BaseNode:
        """Build the node that trains, of TFX's arguments."""
        return Trainer(custom_config=custom_config, **arguments)

    def pusher(
        self,
        push_destination: str,
        also: Sequence[str],
        card: Mapping[str, Any],
        measured: Mapping[str, Channel | None],
        **blessed: Channel,
    ) -> BaseNode:
        """Build the node that hands a model over to a server, if both blessed it.

        Args:
            push_destination: The folder of versions.
            also: Addresses of model stores that get each version too.
            card: What the model card says of the run (`pipeline.model_card.describe_for_card`).
            measured: What was measured, for the card: `evaluation`, and `exports` where there are some.
            blessed: The model and its blessings.
        """
        return Pusher(push_destination=push_destination, also=also, card=card, **measured, **blessed)
