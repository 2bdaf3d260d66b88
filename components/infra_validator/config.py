"""Settings of InfraValidator: the part `infra_validation` of a recipe."""

from __future__ import annotations

from pydantic import Field

from components.base.settings import Positive, Settings


class InfraValidationConfig(Settings):
    """What a model must do in a fresh process before it is pushed."""

    images: Positive = Field(8, description="real images sent through every signature")
    time_limit_secs: Positive | None = Field(
        None,
        description="for starting, loading and answering together; null follows the machine: loading and "
        "answering may take 20 times as long as TensorFlow took to start, and two minutes at least",
    )
