"""Runs a session in threads, so that the event loop answers others meanwhile."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from pipeline.serving.arrays import Array
from pipeline.serving.errors import ServingError

# Reading or writing this many bytes takes less than a millisecond; more is a thread's, not the event loop's.
_FEW_BYTES = 256 * 1024
_Result = TypeVar("_Result")


class Model(Protocol):
    """Computes tensors in the thread that asks, such as a session."""

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout_ms: int = 0) -> list[Array]:
        """Return an array for each name in `fetches`."""

    def close(self) -> None:
        """Free what it holds."""


class ThreadRunner:
    """Runs each request by itself.

    Args:
        model: The session.
        threads: Where it runs.
    """

    def __init__(self, model: Model, threads: ThreadPoolExecutor):
        self._model = model
        self._threads = threads

    async def run(
        self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout_ms: int = 0
    ) -> list[Array]:
        """Return an array for each name in `fetches`.

        Raises:
            ServingError: As the session words it, or no thread was free before the time was over.
        """
        deadline = time.monotonic() + timeout_ms / 1000 if timeout_ms else None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._run, feeds, fetches, deadline)

    def close(self) -> None:
        """Free what the session holds."""
        self._model.close()

    def _run(self, feeds: Mapping[str, Array], fetches: Sequence[str], deadline: float | None) -> list[Array]:
        remaining_ms = 0
        if deadline is not None:
            remaining_ms = int((deadline - time.monotonic()) * 1000)
            if remaining_ms <= 0:
                raise ServingError("DEADLINE_EXCEEDED", "Timed out waiting for notification")
        return self._model.run(feeds, fetches, remaining_ms)


async def compute(size: int, function: Callable[..., _Result], *args: object) -> _Result:
    """Return what a function returns; called in a thread if it has many bytes to read or to write."""
    if size <= _FEW_BYTES:
        return function(*args)
    return await asyncio.to_thread(function, *args)
