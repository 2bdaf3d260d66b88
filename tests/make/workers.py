"""Workers of an ingest without processes, for tests of what is read and written."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any


class InlinePool:
    """Does the tasks of a `WorkerPool` one after another in this process.

    A worker process takes a quarter of a second to start, and the work on a few images a hundredth of that.
    Errors that are no MiranteError come as they are.
    """

    def __init__(self, workers: int) -> None:
        pass

    def __enter__(self) -> InlinePool:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(
        self,
        function: str,
        tasks: Iterable[tuple[Any, tuple[Any, ...]]],
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Yield the key and the answer of each task, as `WorkerPool.map` does."""
        module, _, name = function.partition(":")

        def report(count: int) -> None:
            if count and progress is not None:
                progress(count)

        for key, arguments in tasks:
            yield key, getattr(importlib.import_module(module), name)(*arguments, report)
