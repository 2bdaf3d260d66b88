"""What a run on a Kubeflow Pipelines server is doing, one line for each change of a task."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

from components.base.errors import MiranteError
from kubeflow.server import Server, UnreachableError

POLL_SECS = 5.0
# A server may be restarted, a laptop may sleep: the run does not mind.
PATIENCE_SECS = 600.0

SUCCEEDED = "SUCCEEDED"
_ENDED = (SUCCEEDED, "FAILED", "CANCELED", "SKIPPED", "ERROR")
_WORDS = {"SUCCEEDED": "completed", "SKIPPED": "skipped"}


@dataclasses.dataclass(frozen=True)
class Task:
    """A task of a run.

    Attributes:
        name: The name in the recipe.
        state: KFP's word, such as RUNNING.
        seconds: How long it took; None until it has ended.
        message: Why it failed, as far as the server tells.
    """

    name: str
    state: str
    seconds: float | None
    message: str | None


@dataclasses.dataclass(frozen=True)
class Ending:
    """The end of a run, with KFP's word for it and what the server says of the whole run."""

    state: str
    tasks: list[Task]
    message: str | None


def follow(server: Server, run_id: str, names: Mapping[str, str], say: Callable[[str], None]) -> Ending:
    """Return when the run has ended; each change of a task's state is said.

    Args:
        server: Where it runs.
        run_id: Which run.
        names: The name of each of the pipeline's tasks, by the name that the server has for it. Everything
            else that the server lists, such as KFP's own drivers, is left out.
        say: Takes a line.

    Raises:
        MiranteError: The server has not answered for ten minutes, or refuses to.
    """
    width = max(map(len, names.values()), default=0)
    known: dict[str, str] = {}
    last_answer = time.monotonic()
    while True:
        try:
            run = server.run(run_id)
        except UnreachableError as e:
            silent_secs = time.monotonic() - last_answer
            if silent_secs > PATIENCE_SECS:
                raise MiranteError(
                    "lost sight of the run, which continues without us: no answer for "
                    f"{silent_secs:.0f} s: {e}"
                ) from e
            time.sleep(POLL_SECS)
            continue
        last_answer = time.monotonic()
        tasks = _list_tasks(run, names)
        for task in tasks:
            if known.get(task.name) != task.state:
                known[task.name] = task.state
                took = "" if task.seconds is None else f"{task.seconds:8.1f} s"
                word = _WORDS.get(task.state, task.state.lower())
                say(f"  {task.name:{width}}  {word:10}{took}".rstrip())
        state = str(run.state or "").upper()
        if state in _ENDED:
            return Ending(state, tasks, _find_error(run))
        time.sleep(POLL_SECS)


def _list_tasks(run: Any, names: Mapping[str, str]) -> list[Task]:
    """Return the pipeline's tasks in the order of their start; of a retried one the last attempt."""
    details = (run.run_details.task_details if run.run_details else None) or []
    labels = {**{name: name for name in names.values()}, **names}
    found: dict[str, Task] = {}
    for detail in sorted(details, key=lambda detail: str(detail.create_time or detail.start_time or "")):
        label = labels.get(detail.display_name)
        if label is None or not detail.state:
            continue
        state = str(detail.state).upper()
        seconds = None
        # Of what has not ended, the server's end is the year 1970 or 1.
        if state in _ENDED and detail.start_time and detail.end_time and detail.end_time >= detail.start_time:
            seconds = (detail.end_time - detail.start_time).total_seconds()
        message = _find_error(detail) or _find_error_below(detail, details)
        found[label] = Task(label, state, seconds, message if state == "FAILED" else None)
    return list(found.values())


def _find_error(item: Any) -> str | None:
    """Return the error of a run or task: its own, or that of its last state."""
    states = [item, *reversed(item.state_history or [])]
    return next((state.error.message for state in states if state.error and state.error.message), None)


def _find_error_below(task: Any, details: list[Any]) -> str | None:
    """Return the error of what the task consists of: the container that runs it is a task of its own."""
    children = {child.task_id or child.pod_name for child in task.child_tasks or []} - {None}
    below = [
        other
        for other in details
        if other is not task
        and (other.parent_task_id == task.task_id or children & {other.task_id, other.pod_name})
    ]
    return next((message for other in below if (message := _find_error(other))), None)
