"""Settings of the Pusher: the part `push` of a recipe."""

from __future__ import annotations

from pydantic import Field

from components.base.settings import Settings


class PushConfig(Settings):
    """Where a blessed model goes."""

    destination: str | None = Field(None, description="versioned folder; `<root>/serving` when unset")
