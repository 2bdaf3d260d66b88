"""URLs that TensorFlow Serving does not have, each off unless its flag is given: models, and health."""

import json
from collections.abc import Mapping
from typing import Any

from pipeline.serving.rest import Answer
from pipeline.serving.versions.records import State
from pipeline.serving.versions.shelf import Shelf


class ModelList:
    """Answers `GET /v1/models` with all models and the states of their versions.

    Args:
        shelf: The models.
    """

    def __init__(self, shelf: Shelf):
        self._shelf = shelf

    async def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """Answer a call; None for another path."""
        if method != "GET" or path != "/v1/models":
            return None
        models = [
            {
                "name": name,
                "versions": [{"version": str(number), "state": state.name} for number, state in states],
            }
            for name, states in self._shelf.all_states().items()
        ]
        return to_answer({"models": models})


class Health:
    """Answers `GET /healthz`, and `GET /readyz` with 200 once every model has an available version.

    Args:
        shelf: The models.
    """

    PATHS = ("/healthz", "/readyz")

    def __init__(self, shelf: Shelf):
        self._shelf = shelf

    async def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """Answer a call; None for another path."""
        if method not in ("GET", "HEAD") or path not in self.PATHS:
            return None
        if path == "/healthz":
            return to_answer({"status": "alive"})
        waiting = list_unready(self._shelf)
        return to_answer(
            {"status": "waiting" if waiting else "ready", "waiting": waiting}, 503 if waiting else 200
        )


def list_unready(shelf: Shelf) -> list[str]:
    """Return the names of models without an available version."""
    return [
        name
        for name, states in shelf.all_states().items()
        if all(state is not State.AVAILABLE for _, state in states)
    ]


def to_answer(value: Any, status: int = 200) -> Answer:
    """Return a JSON answer."""
    return Answer(status, json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
