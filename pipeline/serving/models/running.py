"""Runs a session in threads, so that the event loop answers others meanwhile."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from pipeline.serving.arrays import Array
from pipeline.serving.errors import ServingError

# Reading this many bytes of JSON takes two milliseconds; more is a thread's, not the event loop's.
_FEW_BYTES = 64 * 1024
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
        if not timeout_ms:
            return await asyncio.wrap_future(self._threads.submit(self._model.run, feeds, fetches))
        secs = timeout_ms / 1000
        running = self._threads.submit(self._run, feeds, fetches, time.monotonic() + secs)
        is_late = False

        def give_up() -> None:
            nonlocal is_late
            # Does nothing once it runs: then the session looks at the time.
            is_late = running.cancel()

        timer = asyncio.get_running_loop().call_later(secs, give_up)
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            if is_late:
                raise _too_late() from None
            raise
        finally:
            timer.cancel()

    def close(self) -> None:
        """Free what the session holds."""
        self._model.close()

    def _run(self, feeds: Mapping[str, Array], fetches: Sequence[str], deadline: float) -> list[Array]:
        remaining_ms = int((deadline - time.monotonic()) * 1000)
        if remaining_ms <= 0:
            raise _too_late()
        return self._model.run(feeds, fetches, remaining_ms)


def size_as_json(arrays: Mapping[str, Array]) -> int:
    """Return the size of arrays for `compute`: writing a value takes as long as reading 32 bytes."""
    return 32 * sum(array.size for array in arrays.values())


def _too_late() -> ServingError:
    return ServingError("DEADLINE_EXCEEDED", "Timed out waiting for notification")


async def compute(size: int, function: Callable[..., _Result], *args: object) -> _Result:
    """Return what a function returns; called in a thread if it has many bytes to read or to write."""
    if size <= _FEW_BYTES:
        return function(*args)
    return await asyncio.to_thread(function, *args)
