"""The page at `/` (`--ui`): choose or drop an image and see what the model says."""

import asyncio
import base64
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from pipeline.serving.errors import ServingError
from pipeline.serving.extensions import to_answer
from pipeline.serving.models.warm_up import read_images
from pipeline.serving.rest import Answer
from pipeline.serving.versions.shelf import Shelf

_MOST_SAMPLES = 8


class Page:
    """Answers `GET /`, and below `/ui/` what the page asks for.

    Args:
        shelf: The models.
    """

    def __init__(self, shelf: Shelf):
        self._shelf = shelf
        self._text = Path(__file__).with_name("page.html").read_bytes()

    async def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """Answer a call; None for another path."""
        path = path.partition("?")[0]
        if method != "GET":
            return None
        if path == "/":
            return Answer(200, self._text, "text/html; charset=utf-8")
        if path == "/ui/models":
            return to_answer({"models": list(self._shelf.all_states())})
        if path.startswith("/ui/samples/"):
            name = unquote(path.removeprefix("/ui/samples/"))
            return to_answer({"samples": await asyncio.to_thread(self._samples, name)})
        return None

    def _samples(self, name: str) -> list[str]:
        """Return images as base64: those with which the model is warmed up."""
        try:
            with self._shelf.find(name, None, None) as servable:
                images = read_images(servable.folder, _MOST_SAMPLES)
        except ServingError:
            return []
        return [base64.b64encode(each).decode() for each in images]
