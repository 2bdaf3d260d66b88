"""Settings of InfraValidator: the part `infra_validation` of a recipe."""

from pydantic import Field

from components.base.settings import Positive, Settings


class InfraValidationConfig(Settings):
    """The check that a model loads and answers in a fresh process before it is pushed."""

    images: Positive = Field(8, description="test images that are sent through every signature")
    time_limit_secs: Positive | None = Field(
        None,
        description="seconds for starting, loading and answering together; null for 20 times as long as "
        "TensorFlow takes to start, at least 120",
    )
