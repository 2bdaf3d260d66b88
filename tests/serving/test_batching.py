"""Requests that come together become one run; the model is a function on arrays here."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.base.errors import UsageError
from pipeline.serving.errors import ServingError, invalid
from pipeline.serving.metrics import Metrics
from pipeline.serving.models.batching import BatchingRunner, BatchThreads
from pipeline.serving.models.running import ThreadRunner
from pipeline.serving.models.servable import Runner
from pipeline.serving.text_config import BatchingParameters, read_batching


class Doubler:
    """Doubles `x`, holds until it is let go, and refuses batches with a negative number."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.has_begun = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def run(self, feeds: Mapping[str, Any], fetches: Sequence[str], timeout_ms: int = 0) -> list[Any]:
        self.has_begun.set()
        self.go.wait(10)
        self.sizes.append(len(feeds["x"]))
        if (feeds["x"] < 0).any():
            raise invalid("negative")
        return [feeds["x"] * 2] if fetches == ("y",) else [np.float32(1)]

    def close(self) -> None:
        self.go.set()


def run(
    runner: Runner, feeds: Mapping[str, Any], fetches: Sequence[str] = ("y",), timeout_ms: int = 0
) -> list[Any]:
    """Run a request in an event loop of its own."""
    return asyncio.run(runner.run(feeds, fetches, timeout_ms))


def ask_together(doubler: Doubler, runner: BatchingRunner, inputs: list[Any]) -> list[Any]:
    """Send requests while the only thread of the batches is busy with another one."""

    async def ask() -> list[Any]:
        doubler.go.clear()
        first = asyncio.ensure_future(runner.run({"x": np.zeros(1)}, ("y",)))
        while not doubler.has_begun.is_set():
            await asyncio.sleep(0.001)
        asked = [asyncio.ensure_future(runner.run({"x": each}, ("y",))) for each in inputs]
        # Each runs until it waits for its outputs.
        await asyncio.sleep(0)
        doubler.go.set()
        await first
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return [str(each) if isinstance(each, ServingError) else each[0].tolist() for each in answers]

    return asyncio.run(ask())


def make(**parameters: Any) -> tuple[Doubler, BatchingRunner]:
    doubler = Doubler()
    threads = BatchThreads(BatchingParameters(**parameters), Metrics(), 1)
    return doubler, BatchingRunner(doubler, threads, owns_threads=True)


def test_requests_share_a_run_and_get_their_own_rows() -> None:
    doubler, runner = make(max_batch_size=4)
    answers = ask_together(doubler, runner, [np.array([1.0, 2.0]), np.array([3.0]), np.array([4.0, 5.0])])
    assert answers == [[2, 4], [6], [8, 10]]
    assert doubler.sizes == [1, 3, 2]
    runner.close()


def test_batches_are_padded_to_an_allowed_size() -> None:
    doubler, runner = make(max_batch_size=4, allowed_batch_sizes=(2, 4))
    assert ask_together(doubler, runner, [np.array([1.0]), np.array([2.0, 3.0])]) == [[2], [4, 6]]
    assert doubler.sizes == [2, 4]
    runner.close()


def test_a_bad_request_fails_alone() -> None:
    doubler, runner = make()
    answers = ask_together(doubler, runner, [np.array([1.0]), np.array([-1.0]), np.array([2.0])])
    assert answers == [[2], "INVALID_ARGUMENT: negative", [4]]
    runner.close()


def test_requests_of_other_shapes_run_apart_or_are_padded() -> None:
    doubler, runner = make()
    assert ask_together(doubler, runner, [np.ones((1, 1)), np.ones((1, 2))]) == [[[2]], [[2, 2]]]
    assert doubler.sizes == [1, 1, 1]
    runner.close()
    doubler, runner = make(pad_variable_length_inputs=True)
    assert ask_together(doubler, runner, [np.full((1, 1), 3.0), np.ones((1, 2))]) == [[[6, 6]], [[2, 2]]]
    assert doubler.sizes == [1, 2]
    runner.close()


def test_a_full_queue_refuses() -> None:
    doubler, runner = make(max_batch_size=1, max_enqueued_batches=1)
    answers = ask_together(doubler, runner, [np.array([1.0]), np.array([2.0])])
    message = "UNAVAILABLE: The batch scheduling queue to which this task was submitted is full"
    assert answers == [[2], message]
    runner.close()


def test_a_request_that_is_refused_ends_no_thread() -> None:
    parameters = BatchingParameters(
        max_batch_size=9,
        max_execution_batch_size=1,
        enable_large_batch_splitting=True,
        max_enqueued_batches=2,
    )
    runner = BatchingRunner(Doubler(), BatchThreads(parameters, Metrics(), 1), owns_threads=True)
    with pytest.raises(ServingError, match="is full"):
        run(runner, {"x": np.zeros(9)})
    # Of another shape, so in another queue.
    for _ in range(3):
        assert run(runner, {"x": np.ones((1, 2))}, timeout_ms=10_000)[0].tolist() == [[2.0, 2.0]]
    runner.close()


def test_a_large_request_is_split_if_that_is_on() -> None:
    doubler, runner = make(max_batch_size=5, max_execution_batch_size=2, enable_large_batch_splitting=True)
    assert run(runner, {"x": np.arange(5)})[0].tolist() == [0, 2, 4, 6, 8]
    assert sorted(doubler.sizes) == [1, 2, 2]
    runner.close()


@pytest.mark.parametrize(
    ("feeds", "fetches", "message"),
    [
        ({"x": np.float32(1)}, ("y",), "Batching Run() input tensors must have at least one dimension"),
        ({"x": np.ones(2), "z": np.ones(3)}, ("y",),
         "Batching Run() input tensors must have equal 0th-dimension size"),
        ({"x": np.ones(1001)}, ("y",), "Task size 1001 is larger than maximum input batch size 1000"),
        ({"x": np.ones(1)}, ("scalar",), "Batched output tensor has 0 dimensions"),
    ],
)  # fmt: skip
def test_what_cannot_be_batched_is_refused(feeds: Any, fetches: tuple[str, ...], message: str) -> None:
    _, runner = make()
    with pytest.raises(ServingError) as raised:
        run(runner, feeds, fetches)
    assert raised.value.message == message
    runner.close()


def test_a_request_does_not_wait_longer_than_its_deadline() -> None:
    doubler, runner = make()
    doubler.go.clear()
    with pytest.raises(ServingError, match="Run\\(\\) timeout exceeded") as raised:
        run(runner, {"x": np.ones(1)}, timeout_ms=20)
    assert raised.value.code == "DEADLINE_EXCEEDED"
    runner.close()


def test_a_request_that_finds_no_thread_in_time_is_not_run() -> None:
    doubler = Doubler()
    doubler.go.clear()
    with ThreadPoolExecutor(1) as threads:
        runner = ThreadRunner(doubler, threads)

        async def ask() -> list[Any]:
            first = asyncio.ensure_future(runner.run({"x": np.ones(1)}, ("y",)))
            second = runner.run({"x": np.ones(2)}, ("y",), timeout_ms=10)
            (error,) = await asyncio.gather(second, return_exceptions=True)
            # It was answered while the thread was still busy.
            assert not first.done()
            doubler.go.set()
            return [await first, error]

        answer, error = asyncio.run(ask())
    assert answer[0].tolist() == [2]
    assert error.code == "DEADLINE_EXCEEDED"
    assert doubler.sizes == [1]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("max_batch_size { value: 4 } allowed_batch_sizes: 2", "expected 4, the largest batch, .* got 2"),
        ("max_batch_size { value: 4 } allowed_batch_sizes: [4, 2]", "expected rising numbers"),
        ("max_batch_size { value: 0 }", "of at least 1"),
        (
            "max_execution_batch_size { value: -5 } enable_large_batch_splitting { value: true }",
            "expected at least 0, got -5",
        ),
        ("max_batch_size: 4", "expected a BatchingParameters in text format"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "b").write_text(text)
    with pytest.raises(UsageError, match=problem):
        read_batching(str(tmp_path / "b"))


def test_a_file_of_parameters_is_read(tmp_path: Path) -> None:
    (tmp_path / "b").write_text(
        "max_batch_size { value: 4 } batch_timeout_micros { value: 0 } allowed_batch_sizes: [2, 4]"
    )
    assert read_batching(str(tmp_path / "b")) == BatchingParameters(
        max_batch_size=4, allowed_batch_sizes=(2, 4)
    )
