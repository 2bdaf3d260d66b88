"""Pusher: TFX's, which also reads the evaluation, to write a model card next to the model."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import pusher_pb2
from tfx.types import Channel, component_spec, standard_artifacts, standard_component_specs
from tfx.types.experimental import simple_artifacts
from tfx.utils import json_utils

from components.pusher.executor import ALSO, CARD, EVALUATION, EXPORTS, AtomicPushExecutor


class PusherSpec(standard_component_specs.PusherSpec):
    """TFX's inputs and outputs, the evaluation, and the exports."""

    INPUTS: ClassVar = {
        **standard_component_specs.PusherSpec.INPUTS,
        EVALUATION: component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation, optional=True),
        EXPORTS: component_spec.ChannelParameter(type=simple_artifacts.File, optional=True),
    }


class Pusher(base_component.BaseComponent):  # type: ignore[misc]
    """TFX's component, with `AtomicPushExecutor`."""

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(AtomicPushExecutor)

    def __init__(
        self,
        *,
        push_destination: str,
        also: Sequence[str] = (),
        card: Mapping[str, Any],
        **channels: Channel | None,
    ):
        """Take what TFX's component takes, and what the card says of the run.

        Args:
            push_destination: The folder of versions.
            also: Addresses of model stores that get each version too.
            card: `components.model_card.facts.Given` as JSON.
            channels: The model, its blessings, the evaluation, and the exports if there are some.
        """
        destination = pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=push_destination)
        )
        super().__init__(
            PusherSpec(
                **channels,
                push_destination=destination,
                custom_config=json_utils.dumps({ALSO: list(also), CARD: dict(card)}),
                pushed_model=Channel(type=standard_artifacts.PushedModel),
            )
        )
