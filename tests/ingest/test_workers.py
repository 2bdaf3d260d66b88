"""Worker processes: a dead one is an error, not a hang; none is left behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from components.base.errors import MiranteError, UsageError
from components.ingest.workers import WorkerPool, usable_cores

pytestmark = pytest.mark.stack_free

HERE = "tests.ingest.test_workers"


def square(number: int, report: object) -> int:
    assert callable(report)
    report(number)
    return number * number


def die(how: str, report: object) -> None:
    if how == "exit":
        os._exit(7)
    if how == "raise":
        raise ValueError("no such thing")
    if how == "refuse":
        raise UsageError("this is not allowed")
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(file: str, report: object) -> None:
    Path(file).write_text(str(os.getpid()))
    time.sleep(60)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_task_is_answered_and_progress_adds_up() -> None:
    seen: list[int] = []
    with WorkerPool(2) as pool:
        answers = dict(pool.map(f"{HERE}:square", ((f"task {n}", (n,)) for n in range(1, 21)), seen.append))
        assert dict(pool.map(f"{HERE}:square", [("again", (5,))])) == {"again": 25}
        assert list(pool.map(f"{HERE}:square", [])) == []
    assert answers == {f"task {n}": n * n for n in range(1, 21)}
    assert sum(seen) == 210


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            "kill",
            r"Worker process \d+ was killed \(signal 9\): .* memory, at the third shard.*fewer --workers",
        ),
        ("exit", "ended with exit code 7, at the third shard"),
        ("raise", r"(?s)A worker process failed: ValueError: no such thing.*Traceback"),
    ],
)
def test_a_worker_that_fails_ends_the_work(how: str, message: str) -> None:
    started = time.monotonic()
    with pytest.raises(MiranteError, match=message), WorkerPool(2) as pool:
        list(pool.map(f"{HERE}:die", [("the third shard", (how,))]))
    assert time.monotonic() - started < 30


def test_an_error_that_has_an_exit_code_keeps_it() -> None:
    with pytest.raises(UsageError, match="this is not allowed"), WorkerPool(1) as pool:
        list(pool.map(f"{HERE}:die", [("x", ("refuse",))]))


def test_an_interrupt_leaves_no_worker_behind(tmp_path: Path) -> None:
    file = tmp_path / "pid"

    def interrupt() -> None:
        with WorkerPool(1) as pool:
            for _ in pool.map(f"{HERE}:sleep", [("sleep", (str(file),))]):
                pass

    previous = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert time.monotonic() - started < 10
    assert not file.exists() or not is_alive(int(file.read_text()))


def test_cores_are_those_that_this_process_may_use() -> None:
    assert usable_cores() == len(os.sched_getaffinity(0))
