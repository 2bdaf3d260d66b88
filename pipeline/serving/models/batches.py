"""Queues of requests, the batches in them, and how a batch is run and taken apart again."""

import asyncio
import collections
import contextlib
import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pipeline.serving.arrays import Array
from pipeline.serving.errors import ServingError
from pipeline.serving.models.running import Model
from pipeline.serving.text_config import BatchingParameters


class Task:
    """A request, or a part of a large one; made in the event loop that waits for it.

    Args:
        feeds: Its rows, by the names of tensors.
        deadline: On the monotonic clock, which is the loop's; None for none.

    Attributes:
        outcome: The outputs or the error, once there is one.
        loop: The event loop.
    """

    def __init__(self, feeds: Mapping[str, Array], deadline: float | None):
        self.feeds = feeds
        self.size = len(next(iter(feeds.values())))
        self.deadline = deadline
        self.since = 0.0
        self.outcome: list[Array] | ServingError | None = None
        self.loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[list[Array]] = self.loop.create_future()

    async def wait(self) -> list[Array]:
        """Return the outputs once they are there.

        Raises:
            ServingError: The run failed, or the deadline passed before.
        """
        timer = None if self.deadline is None else self.loop.call_at(self.deadline, self.settle, _too_late())
        try:
            return await self._ended
        finally:
            if timer is not None:
                timer.cancel()

    def settle(self, outcome: list[Array] | ServingError) -> None:
        """End the waiting; only the first outcome counts. Called in the loop."""
        if self._ended.done():
            return
        if isinstance(outcome, ServingError):
            self._ended.set_exception(outcome)
        else:
            self._ended.set_result(outcome)


def hand_over(tasks: Iterable[Task]) -> None:
    """Settle tasks that have an outcome, from any thread; wakes each event loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Task]] = {}
    for task in tasks:
        by_loop.setdefault(task.loop, []).append(task)
    for loop, its_tasks in by_loop.items():
        # A loop that has ended waits for nothing.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle_all, its_tasks)


def _settle_all(tasks: Sequence[Task]) -> None:
    for task in tasks:
        assert task.outcome is not None
        task.settle(task.outcome)


@dataclasses.dataclass
class Batch:
    """Tasks that run together."""

    model: Model
    fetches: tuple[str, ...]
    tasks: list[Task] = dataclasses.field(default_factory=list)
    size: int = 0


class Queue:
    """Batches of tasks that fit together. Its users guard it against other threads.

    Args:
        model: Runs them.
        fetches: What is computed.
        longest: Rows of a batch at most.
        most_batches: More batches than these are refused.
        patience_secs: How long a batch that is not full waits for more.
    """

    def __init__(
        self, model: Model, fetches: tuple[str, ...], longest: int, most_batches: int, patience_secs: float
    ):
        self._model = model
        self._fetches = fetches
        self._longest = longest
        self._most_batches = most_batches
        self._patience_secs = patience_secs
        self._batches: collections.deque[Batch] = collections.deque()

    def is_empty(self) -> bool:
        """Return whether nothing waits."""
        return not self._batches

    def add(self, tasks: Sequence[Task], now: float) -> bool:
        """Put tasks into the last batch, or into new ones; all or none.

        Returns:
            Whether a batch was begun or filled. Who waits for the batches has to look at them only then.

        Raises:
            ServingError: There are too many batches.
        """
        room = self._longest - self._batches[-1].size if self._batches else 0
        more = sum(task.size > room for task in tasks[:1]) + len(tasks) - 1
        if len(self._batches) + more > self._most_batches:
            raise ServingError(
                "UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full"
            )
        count = len(self._batches)
        for task in tasks:
            if not self._batches or self._batches[-1].size + task.size > self._longest:
                self._batches.append(Batch(self._model, self._fetches))
            task.since = now
            self._batches[-1].tasks.append(task)
            self._batches[-1].size += task.size
        return len(self._batches) > count or self._batches[-1].size >= self._longest

    def due(self) -> float:
        """Return when the first batch is to be run, on the monotonic clock."""
        first = self._batches[0]
        is_closed = len(self._batches) > 1 or first.size >= self._longest
        return 0.0 if is_closed else first.tasks[0].since + self._patience_secs

    def take(self, now: float) -> Batch | None:
        """Remove and return the first batch if it is to be run."""
        if self._batches and self.due() <= now:
            return self._batches.popleft()
        return None


def run_batch(batch: Batch, parameters: BatchingParameters) -> None:
    """Run a batch and hand every task its outputs or its error."""
    now = time.monotonic()
    tasks = []
    for task in batch.tasks:
        if task.deadline is not None and task.deadline <= now:
            task.outcome = _too_late()
        else:
            tasks.append(task)
    try:
        if tasks:
            _run(batch, tasks, parameters, now)
    except Exception as e:  # noqa: BLE001  # The thread must live, and the clients have an answer.
        error = e if isinstance(e, ServingError) else ServingError("INTERNAL", f"{type(e).__name__}: {e}")
        if len(tasks) > 1 and error is e:
            hand_over(task for task in batch.tasks if task.outcome is not None)
            for task in tasks:
                run_batch(Batch(batch.model, batch.fetches, [task], task.size), parameters)
            return
        for task in tasks:
            task.outcome = error
    hand_over(batch.tasks)


def _run(batch: Batch, tasks: list[Task], parameters: BatchingParameters, now: float) -> None:
    size = sum(task.size for task in tasks)
    padded_size = next((allowed for allowed in parameters.allowed_batch_sizes if allowed >= size), size)
    feeds = {name: _join([task.feeds[name] for task in tasks], padded_size - size) for name in tasks[0].feeds}
    deadlines = [task.deadline for task in tasks]
    timeout_ms = 0
    if None not in deadlines:
        timeout_ms = max(1, int((max(each for each in deadlines if each is not None) - now) * 1000))
    outputs = batch.model.run(feeds, batch.fetches, timeout_ms)
    for array in outputs:
        if array.ndim == 0:
            raise ServingError("FAILED_PRECONDITION", "Batched output tensor has 0 dimensions")
        if len(array) != padded_size:
            raise ServingError(
                "FAILED_PRECONDITION",
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of "
                "the input tensors",
            )
    start = 0
    for task in tasks:
        task.outcome = [array[start : start + task.size] for array in outputs]
        start += task.size


def _join(arrays: list[Array], missing_rows: int) -> Array:
    """Put arrays one behind the other; shorter rows are padded with their first element, as documented."""
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) > 1:
        lengths = np.max([array.shape[1:] for array in arrays], axis=0)
        arrays = [_pad(array, lengths) for array in arrays]
    if missing_rows:
        arrays = [*arrays, np.repeat(arrays[0][:1], missing_rows, axis=0)]
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]


def _pad(array: Array, lengths: Array) -> Array:
    padded = np.empty((len(array), *lengths), dtype=array.dtype)
    zero = b"" if array.dtype == object else 0
    padded[...] = array.ravel()[0] if array.size else zero
    padded[tuple(slice(0, length) for length in array.shape)] = array
    return padded


def _too_late() -> ServingError:
    return ServingError("DEADLINE_EXCEEDED", "Run() timeout exceeded while waiting in batching queue")
