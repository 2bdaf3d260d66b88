"""Settings of the Pusher: the part `push` of a recipe."""

from typing import Annotated

from pydantic import Field, field_validator

from components.base.redact import redact
from components.base.settings import IsPath, Settings
from components.model_stores.address import parse_address


class PushConfig(Settings):
    """The destinations of blessed models."""

    destination: Annotated[str | None, IsPath(is_written=True)] = Field(
        None, description="folder for the versions of the model; null for `<root>/serving`"
    )
    also: tuple[str, ...] = Field(
        (),
        description="further stores that get each pushed version: GridFS (`mongodb://HOST/DATABASE/MODEL`) "
        "and MLflow's registry (`models:/MODEL`); users and passwords are in the environment",
    )

    @field_validator("also")
    @classmethod
    def _are_stores(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            try:
                parse_address(address)
            except ValueError as e:
                raise ValueError(f"{e}, got {redact(address)}") from e
        return value
