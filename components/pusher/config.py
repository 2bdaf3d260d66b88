"""Settings of the Pusher: the part `push` of a recipe."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.base.settings import IsPath, Settings


class PushConfig(Settings):
    """The destination of blessed models."""

    destination: Annotated[str | None, IsPath(is_written=True)] = Field(
        None, description="folder for the versions of the model; null for `<root>/serving`"
    )
