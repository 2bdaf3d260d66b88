"""Worker processes: every core is used, and one that dies ends the work with an error instead of a hang.

Workers are started as fresh interpreters (not forked: the parent may hold threads of TensorFlow or of a
notebook; not with multiprocessing's spawn: that runs the user's main module again). One whose parent is gone
ends by itself.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from components.base.errors import MiranteError
from components.base.os_errors import explain_os_error

# glibc hands an image's buffers back to the kernel when they are freed, and gets them anew, page by page,
# for the next one: a quarter of the time for small images. This much a worker keeps; glibc allows no more.
_KEPT_MEMORY_BYTES = 32 << 20
_ENVIRONMENT = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(_KEPT_MEMORY_BYTES))

# Ctrl-C and service managers signal children too; the parent alone is to end them.
# The child gets its parent's sys.path as an argument: it must find the same modules, also where the parent
# was started in a checkout's root and the code is not installed.
_CHILD = (
    "import signal, sys, json; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); sys.path[:] = json.loads(sys.argv[2]); "
    "from components.ingest import workers; workers.serve(int(sys.argv[1]), int(sys.argv[3]))"
)


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class WorkerPool:
    """Some worker processes, started when there is work for them.

    `with WorkerPool(2) as pool: for key, answer in pool.map("package.module:function", tasks): ...`
    """

    def __init__(self, workers: int) -> None:
        self._wanted = workers
        self._workers: list[tuple[subprocess.Popen[bytes], multiprocessing.connection.Connection]] = []

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, connection in self._workers:
            process.kill()
            connection.close()
        for process, _ in self._workers:
            process.wait()
        self._workers.clear()

    def map(
        self,
        function: str,
        tasks: Iterable[tuple[Any, tuple[Any, ...]]],
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Yield (key, function(*arguments, report)) for every task (key, arguments), as they are done.

        Args:
            function: "module:name"; its last argument is report(count), which calls progress(count) in this
                process.
            tasks: (key, arguments) of each call.
            progress: Called with what the workers report.

        Raises:
            MiranteError: The function raised it; for any other error, with the worker's traceback.
        """
        waiting = iter(tasks)
        busy: dict[multiprocessing.connection.Connection, tuple[subprocess.Popen[bytes], Any]] = {}
        idle = list(self._workers)
        exhausted = False
        while True:
            while not exhausted:
                if not idle and len(self._workers) >= self._wanted:
                    break
                task = next(waiting, None)
                if task is None:
                    exhausted = True
                    break
                key, arguments = task
                process, connection = idle.pop() if idle else self._start()
                self._send(process, connection, key, (function, arguments))
                busy[connection] = process, key
            if not busy:
                return
            for ready in multiprocessing.connection.wait(list(busy)):
                assert isinstance(ready, multiprocessing.connection.Connection)
                process, key = busy[ready]
                try:
                    kind, value = ready.recv()
                except (EOFError, ConnectionResetError):
                    raise _died(process, key) from None
                if kind == "progress":
                    if progress is not None:
                        progress(value)
                    continue
                if kind == "error":
                    raise value
                del busy[ready]
                idle.append((process, ready))
                yield key, value

    def _start(self) -> tuple[subprocess.Popen[bytes], multiprocessing.connection.Connection]:
        ours, theirs = multiprocessing.Pipe()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(theirs.fileno()), json.dumps(sys.path), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                env=_ENVIRONMENT | os.environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # a command's standard output may be JSON for another program
            )
        self._workers.append((process, ours))
        return process, ours

    def _send(
        self,
        process: subprocess.Popen[bytes],
        connection: multiprocessing.connection.Connection,
        key: Any,
        what: Any,
    ) -> None:
        try:
            connection.send(what)
        except (BrokenPipeError, ConnectionResetError):
            raise _died(process, key) from None


def _died(process: subprocess.Popen[bytes], key: Any) -> MiranteError:
    code = process.wait()
    if code == -signal.SIGKILL:
        how = "was killed (signal 9): most likely the machine, or its container, ran out of memory"
    elif code < 0:
        how = f"was ended by signal {-code} ({signal.Signals(-code).name})"
    else:
        how = f"ended with exit code {code}"
    return MiranteError(
        f"Worker process {process.pid} {how}, at {key}. What is finished is kept: run the same command "
        "again, with fewer --workers if memory was short"
    )


def answer_task(function: str, arguments: tuple[Any, ...], report: Callable[[int], None]) -> tuple[str, Any]:
    """Do a task in this process.

    Args:
        function: "module:name".
        arguments: All arguments but the last, which is `report`.
        report: Called with the numbers that the function reports.

    Returns:
        `done` and what the function returned, or `error` and a MiranteError.
    """
    module, _, name = function.partition(":")
    try:
        return "done", getattr(importlib.import_module(module), name)(*arguments, report)
    except MiranteError as error:
        return "error", error
    except (OSError, MemoryError) as error:
        explained = explain_os_error(error, [])
        return "error", explained or MiranteError(f"A worker process failed: {error}")
    except Exception as error:  # noqa: BLE001 - told to the parent, which ends with it
        what = f"{type(error).__name__}: {error}"
        return "error", MiranteError(f"A worker process failed: {what}\n{traceback.format_exc()}")


def serve(descriptor: int, parent_pid: int) -> None:
    """Return the worker's main loop, until the parent closes its end."""
    connection: multiprocessing.connection.Connection = multiprocessing.connection.Connection(descriptor)

    def report(count: int) -> None:
        # An orphan must not keep writing during the next run.
        if os.getppid() != parent_pid:
            os._exit(1)
        if count:
            connection.send(("progress", count))

    while True:
        try:
            function, arguments = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        answer = answer_task(function, arguments, report)
        connection.send(answer)
