"""What a run on a Kubeflow Pipelines server is doing, one line for each change of a task."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from components.base.errors import MiranteError
from kubeflow.reasons import DRIVER, is_waiting
from kubeflow.server import Server, UnreachableError

POLL_SECS = 5.0
# A server may be restarted, a laptop may sleep: the run does not mind.
PATIENCE_SECS = 600.0
# A pod that has not started for so long lacks something, or pulls a large image.
WAITING_SECS = 120.0
_SETTLING_POLLS = 3

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
        server_name: The server's name of it, or of its driver if that failed.
    """

    name: str
    state: str
    seconds: float | None
    message: str | None
    server_name: str = ""

    @property
    def driver_failed(self) -> bool:
        """Return whether its driver failed, which Kubeflow runs before the task, not the task itself."""
        return self.server_name.endswith(DRIVER)


@dataclasses.dataclass(frozen=True)
class Ending:
    """The end of a run.

    Attributes:
        state: KFP's word for it.
        tasks: The pipeline's tasks.
        message: What the server says of the whole run.
        details: All tasks as the server lists them, KFP's own among them.
    """

    state: str
    tasks: list[Task]
    message: str | None
    details: list[Any] = dataclasses.field(default_factory=list)


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
    settling = _SETTLING_POLLS
    last_answer = started_waiting = time.monotonic()
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
            if not math.isnan(started_waiting):
                started_waiting = math.inf  # it may not know yet which pods have started meanwhile
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
        details = list((run.run_details.task_details if run.run_details else None) or [])
        if state in _ENDED:
            # The server may know the end of a run before those of its tasks.
            if settling and not (tasks and all(task.state in _ENDED for task in tasks)):
                settling -= 1
                time.sleep(POLL_SECS)
                continue
            return Ending(state, tasks, _find_error(run), details)
        if not is_waiting(details):
            started_waiting = math.inf
        elif started_waiting == math.inf:
            started_waiting = time.monotonic()
        if time.monotonic() - started_waiting > WAITING_SECS:
            started_waiting = math.nan  # once for each wait
            waiting = ", ".join(task.name for task in tasks if task.state not in _ENDED)
            say(
                f"  {waiting}: the pod has not started for {WAITING_SECS:.0f} s; is its image, claim or\n"
                f"  Secret missing, or no machine free? This shows what Kubernetes says:\n"
                f"{why_command(server, run_id)}"
            )
        time.sleep(POLL_SECS)


def why_command(server: Server, run_id: str) -> str:
    """Return the command that shows what Kubernetes and the tasks say of a run, in lines of 80 columns."""
    return (
        f"    kubectl -n {server.namespace or 'kubeflow'} get workflows -o jsonpath='{{..message}}' \\\n"
        f"      -l pipeline/runid={run_id}"
    )


def _list_tasks(run: Any, names: Mapping[str, str]) -> list[Task]:
    """Return the pipeline's tasks in the order of their start; of a retried one the last attempt."""
    details = (run.run_details.task_details if run.run_details else None) or []
    labels = {**{name: name for name in names.values()}, **names}
    found: dict[str, Task] = {}
    for detail in sorted(details, key=lambda detail: str(detail.start_time or detail.create_time or "")):
        if not detail.state:
            continue
        state, server_name = str(detail.state).upper(), str(detail.display_name)
        label = labels.get(server_name)
        if label is None and state == "FAILED" and server_name.endswith(DRIVER):
            # Of the whole run, or of a task that is not listed then.
            label = labels.get(server_name.removesuffix(DRIVER), server_name)
        if label is None:
            continue
        seconds = None
        # Of what has not ended, the server's end is the year 1970 or 1.
        if state in _ENDED and detail.start_time and detail.end_time and detail.end_time >= detail.start_time:
            seconds = (detail.end_time - detail.start_time).total_seconds()
        message = _find_error(detail) or _find_error_below(detail, details)
        found[label] = Task(label, state, seconds, message if state == "FAILED" else None, server_name)
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
