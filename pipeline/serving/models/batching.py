"""Puts requests that come together into one run, by TensorFlow Serving's batching parameters.

Requests that fit, with the same tensors, types and shapes, share a batch. If a batch fails, its requests run
one by one, so that a damaged image fails no request but its own.
"""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.serving.arrays import Array
from pipeline.serving.errors import invalid
from pipeline.serving.models.batches import Batch, Queue, Task, run_batch
from pipeline.serving.models.running import Model
from pipeline.serving.text_config import BatchingParameters


class BatchThreads:
    """Threads that run batches, for all models that share them.

    Args:
        parameters: The batching parameters.
        recorder: Keeps how long requests were queued.
        count: How many threads.
    """

    def __init__(self, parameters: BatchingParameters, recorder: Any, count: int):
        self.parameters = parameters
        self._recorder = recorder
        self._changed = threading.Condition()
        self._queues: list[Queue] = []
        self._stopped = False
        for number in range(count):
            name = f"{parameters.thread_pool_name}-{number}"
            threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, queue: Queue, tasks: Sequence[Task]) -> None:
        """Queue the parts of a request, all or none.

        Raises:
            ServingError: The queue is full.
        """
        with self._changed:
            # First, since it may refuse them: a queue in the list is never empty.
            is_news = queue.add(tasks, time.monotonic())
            if queue not in self._queues:
                self._queues.append(queue)
            if is_news:
                self._changed.notify()

    def stop(self) -> None:
        """End the threads; what is queued runs before."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                batch = self._next_batch()
                while batch is None:
                    if self._stopped:
                        return
                    self._changed.wait(self._wait_secs())
                    batch = self._next_batch()
                if self._queues:
                    # While this thread runs its batch, another one waits for the next.
                    self._changed.notify()
            queued = [time.monotonic() - task.since for task in batch.tasks]
            self._recorder.record_batch(self.parameters.thread_pool_name, queued)
            run_batch(batch, self.parameters)

    def _next_batch(self) -> Batch | None:
        now = time.monotonic()
        for position, queue in enumerate(self._queues):
            batch = queue.take(now)
            if batch is not None:
                # The next look begins behind it, so that no queue starves.
                self._queues = self._queues[position + 1 :] + self._queues[: position + 1]
                if queue.is_empty():
                    self._queues.remove(queue)
                return batch
        return None

    def _wait_secs(self) -> float | None:
        due = [queue.due() for queue in self._queues]
        return max(0.0, min(due) - time.monotonic()) if due else None


class BatchingRunner:
    """Runs a model's requests in batches.

    Args:
        model: The session.
        threads: What runs the batches.
        owns_threads: No other model shares them.
    """

    def __init__(self, model: Model, threads: BatchThreads, owns_threads: bool):
        self._model = model
        self._threads = threads
        self._owns_threads = owns_threads
        self._lock = threading.Lock()
        self._queues: dict[Any, Queue] = {}

    async def run(
        self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout_ms: int = 0
    ) -> list[Array]:
        """Return an array for each name in `fetches`, with as many rows as the feeds have.

        Raises:
            ServingError: The feeds have no rows or not equally many, or the queue is full.
        """
        size = _count_rows(feeds)
        parameters = self._threads.parameters
        if size > parameters.max_batch_size:
            raise invalid(
                f"Task size {size} is larger than maximum input batch size {parameters.max_batch_size}"
            )
        if size == 0:
            return await asyncio.to_thread(self._model.run, feeds, fetches, timeout_ms)
        deadline = time.monotonic() + timeout_ms / 1000 if timeout_ms else None
        longest = parameters.max_batch_size
        if parameters.enable_large_batch_splitting and parameters.max_execution_batch_size:
            longest = parameters.max_execution_batch_size
        tasks = [
            Task({name: array[start : start + longest] for name, array in feeds.items()}, deadline)
            for start in range(0, size, longest)
        ]
        self._threads.submit(self._queue(feeds, fetches, longest), tasks)
        if len(tasks) == 1:
            return await tasks[0].wait()
        parts = await asyncio.gather(*(task.wait() for task in tasks))
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]

    def close(self) -> None:
        """Free what the model holds."""
        if self._owns_threads:
            self._threads.stop()
        self._model.close()

    def _queue(self, feeds: Mapping[str, Array], fetches: Sequence[str], longest: int) -> Queue:
        parameters = self._threads.parameters
        key: Any = (
            tuple(fetches),
            tuple(
                (
                    name,
                    array.dtype,
                    array.ndim if parameters.pad_variable_length_inputs else array.shape[1:],
                )
                for name, array in sorted(feeds.items())
            ),
        )
        with self._lock:
            found = self._queues.get(key)
            if found is None:
                # Shapes are the clients' choice, so there may be many of them.
                if len(self._queues) > 1000:
                    self._queues = {key: queue for key, queue in self._queues.items() if not queue.is_empty()}
                found = self._queues[key] = Queue(
                    self._model,
                    tuple(fetches),
                    longest,
                    parameters.max_enqueued_batches,
                    parameters.batch_timeout_micros / 1e6,
                )
            return found


def _count_rows(feeds: Mapping[str, Array]) -> int:
    if not feeds:
        raise invalid("Batching Run() must have at least one input tensor")
    if any(array.ndim == 0 for array in feeds.values()):
        raise invalid("Batching Run() input tensors must have at least one dimension")
    sizes = {len(array) for array in feeds.values()}
    if len(sizes) > 1:
        raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()
