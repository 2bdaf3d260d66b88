"""Why a task of a run failed, from its log: Kubeflow Pipelines' API seldom says more than that it did."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from kubeflow.server import Server

# What begins the line of a task's log that gives the reason, and the first line, which names the first node.
# The line that says when the next attempt begins (pipeline.targets.kubeflow.attempts) gives no reason.
_REASON = re.compile(r"^mirante: (?!the next begins in )(?P<reason>.+)$", re.MULTILINE)
# The reason of an attempt that was not the last one.
_ATTEMPT = re.compile(r"attempt \d+ of \d+ failed: ")
_BEGINNING = re.compile(r"^mirante \S+  (?P<node>\w+)(,? \w+)*  ", re.MULTILINE)
# A driver's and a launcher's last words: glog's fatal line, without its time and place.
_FATAL = re.compile(r"^F\d{4} [\d:.]+ +\d+ [\w.]+:\d+\] (?P<reason>.+)$", re.MULTILINE)
# The launcher's last words of a task that could say nothing more itself. Kubernetes' signal ends the shell
# that kfp starts Python from; the system kills Python alone, and the shell says so by its exit status.
_ENDINGS = {
    "failed to execute component: signal: terminated": (
        "the pod was deleted, or its machine drained, before the task could say so; submit the package again"
    ),
    "failed to execute component: exit status 137": (
        "the task was killed, most likely for want of memory; give it more by memory in kubeflow.tasks"
    ),
}
# The task of Argo that runs a task's container, and the one that prepares it.
_EXECUTOR = re.compile(r"executor(\(\d+\))?")
DRIVER = "-driver"
# Argo's, for the containers of tasks and drivers: a pod's name is the workflow's, this and a number.
_TEMPLATES = ("system-container-impl", "system-container-driver")
_MOST_LOGS = 12
_MOST_CHARS = 500

DRIVER_FAILED = (
    "the driver failed, with which Kubeflow prepares a task; usually its metadata server "
    "(metadata-grpc-service) or its object store does not answer"
)


def is_waiting(details: Iterable[Any]) -> bool:
    """Return whether the pod of a task waits to start, as the server lists the tasks of a run."""
    return any(
        _EXECUTOR.fullmatch(str(detail.display_name)) and str(detail.state).upper() == "PENDING"
        for detail in details
    )


def find_reason(server: Server, run_id: str, task: str, details: list[Any]) -> str | None:
    """Return the reason that the log of a failed task gives; None if the log is not available.

    Args:
        server: Where it runs.
        run_id: The run.
        task: The server's name of the task, or of its driver.
        details: The tasks of the run, as the server lists them.
    """
    failed = [one for one in details if one.display_name == "executor" and str(one.state).upper() == "FAILED"]
    for log in _read_logs(server, run_id, _list_nodes(task, details)):
        beginning = _BEGINNING.search(log)
        # The server does not say which container belongs to which task.
        if len(failed) > 1 and beginning and not task.lower().startswith(beginning["node"].lower()):
            continue
        if reason := _read_reason(log):
            return reason[:_MOST_CHARS]
    return None


def _read_reason(log: str) -> str | None:
    """Return the task's own reason; if that is not final, what ended it; else the launcher's last words."""
    own, last = (
        [found["reason"].strip() for found in pattern.finditer(log)][-1:] for pattern in (_REASON, _FATAL)
    )
    ending = _ENDINGS.get(last[0]) if last else None
    if ending and (not own or _ATTEMPT.match(own[0])):
        return ending
    return next(iter([*own, *last]), None)


def _list_nodes(task: str, details: list[Any]) -> list[str]:
    """Return the ids of what may be the pod of a failed task, the last attempts first."""
    named = re.compile(rf"{re.escape(task)}(\(\d+\))?")
    found: dict[str, None] = {}
    for detail in details:
        name = str(detail.display_name)
        failed_container = _EXECUTOR.fullmatch(name) and str(detail.state).upper() == "FAILED"
        if named.fullmatch(name) or (failed_container and not task.endswith(DRIVER)):
            children = [child.pod_name or child.task_id for child in detail.child_tasks or []]
            found.update(dict.fromkeys(filter(None, [*reversed(children), detail.pod_name])))
    return list(found)[:_MOST_LOGS]


def _read_logs(server: Server, run_id: str, nodes: list[str]) -> Iterator[str]:
    for node in nodes:
        # The API has logs under its first version alone, which the UI does not pass on. The UI reads them
        # itself, by the pod's name.
        workflow, _, number = node.rpartition("-")
        names = [f"{workflow}-{template}-{number}" for template in _TEMPLATES]
        where = {"podnamespace": server.namespace or "kubeflow", "runid": run_id}
        yield from filter(
            None,
            (
                server.text(f"/apis/v1alpha1/runs/{run_id}/nodes/{node}/log"),
                *(server.text("/k8s/pod/logs", podname=name, **where) for name in names),
            ),
        )
