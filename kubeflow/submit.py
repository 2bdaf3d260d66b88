"""`mirante submit`: a compiled pipeline to a Kubeflow Pipelines server, to run once or by a schedule."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from components.base.errors import MiranteError, UsageError
from components.base.words import wrap_text
from kubeflow.cron import six_fields
from kubeflow.follow import SUCCEEDED, Ending, Task, follow, why_command
from kubeflow.package import Package, arguments, read_package
from kubeflow.reasons import DRIVER_FAILED, find_reason
from kubeflow.server import Server

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Submission:
    """A submission, as the command's options describe it.

    Attributes:
        package: The compiled pipeline.
        host: The server's address.
        namespace: For servers with several users.
        token: A bearer token, or None.
        ca_cert: Certificates to trust, a PEM file.
        name: Of the pipeline on the server; the package's own where None.
        version: Of the pipeline's version; derived from the package's bytes where None.
        experiment: Under which the run is listed; called as the pipeline where None.
        run_name: Of the run, or of the recurring run.
        params: `name=value`.
        service_account: That the tasks run as; the package's where None, or else the server's default.
        follow: Whether to wait for the end.
        cron: A schedule for a recurring run; None for one run, now.
        replace: Whether a recurring run of the same name may be replaced.
    """

    package: Path
    host: str
    namespace: str | None = None
    token: str | None = None
    ca_cert: Path | None = None
    name: str | None = None
    version: str | None = None
    experiment: str | None = None
    run_name: str | None = None
    params: Sequence[str] = ()
    service_account: str | None = None
    follow: bool = True
    cron: str | None = None
    replace: bool = False


@dataclasses.dataclass
class Submitted:
    """The result of a submission, filled in as it comes; `--json` prints it.

    Attributes:
        version_reused: Whether the server had the package's bytes already.
        url: Of the run, or of the recurring run.
        state: KFP's word for how the run ended, or for where it is.
        tasks: By name: `state`, `seconds`, `message`.
    """

    pipeline: str = ""
    pipeline_id: str | None = None
    version: str | None = None
    version_id: str | None = None
    version_reused: bool = False
    experiment: str | None = None
    run_id: str | None = None
    recurring_run_id: str | None = None
    url: str | None = None
    state: str | None = None
    tasks: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    error: str | None = None


def submit(wanted: Submission, submitted: Submitted, say: Say) -> None:
    """Upload the package where it is new, starts what is wanted, and follows it.

    Args:
        wanted: What to do. Everything that can be checked without the server is, before anything is sent.
        submitted: Filled in on the way, so that it tells of what was done also when this raises.
        say: Takes a line for the user.

    Raises:
        UsageError: What is wanted cannot be; see `kubeflow.package`, `kubeflow.cron` and `kubeflow.server`.
        MiranteError: The server failed, or cannot be reached, or the run failed.
        KeyboardInterrupt: While the run was followed; the run continues.
    """
    package = read_package(wanted.package)
    values = arguments(package, wanted.params)
    cron = six_fields(wanted.cron) if wanted.cron is not None else None
    submitted.pipeline = name = wanted.name or package.name
    server = Server(wanted.host, wanted.namespace, wanted.token, wanted.ca_cert)
    if server.leaves_namespace_out:
        say(f"warning: {server.host} is for one user and has no namespaces: --namespace is left out")
    submitted.pipeline_id = server.pipeline(name)
    submitted.version_id, submitted.version, submitted.version_reused = server.version(
        submitted.pipeline_id, package, wanted.version
    )
    there = "is there already" if submitted.version_reused else "uploaded"
    say(f"pipeline {name}, version {submitted.version}: {there}")
    submitted.experiment = wanted.experiment or name
    experiment_id = server.experiment(submitted.experiment)
    what: dict[str, Any] = {
        "experiment_id": experiment_id,
        "pipeline_version_reference": {
            "pipeline_id": submitted.pipeline_id,
            "pipeline_version_id": submitted.version_id,
        },
        "runtime_config": {"parameters": values},
        "service_account": wanted.service_account or package.service_account,
    }
    if cron is not None:
        _start_recurring(
            server, wanted, submitted, cron, {**what, "display_name": wanted.run_name or name}, say
        )
        return
    now = datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    run_name = wanted.run_name or f"{name} {now}"
    submitted.run_id = server.start_run(**what, display_name=run_name)
    submitted.url = f"{server.host}/#/runs/details/{submitted.run_id}"
    say(f"run {run_name!r} in experiment {submitted.experiment!r}:\n  {submitted.url}")
    if wanted.follow:
        _follow(server, package, submitted, say)


def _follow(server: Server, package: Package, submitted: Submitted, say: Say) -> None:
    run_id = submitted.run_id or ""
    try:
        ending = follow(server, run_id, package.tasks, say)
    except MiranteError as e:
        # However wrong the usage: by now there is a run, and what calls us wants to know of it.
        raise MiranteError(f"{e}. The run continues: {submitted.url}") from e
    submitted.state = ending.state
    tasks = [_with_reason(task, ending, server, run_id) for task in ending.tasks]
    ending = dataclasses.replace(ending, tasks=tasks)
    submitted.tasks = {
        task.name: {"state": task.state, "seconds": task.seconds, "message": task.message} for task in tasks
    }
    if ending.state != SUCCEEDED:
        raise MiranteError(_explain_failure(ending, submitted, server))
    say(f"run succeeded:\n  {submitted.url}")


def _with_reason(task: Task, ending: Ending, server: Server, run_id: str) -> Task:
    """Return a failed task with the reason that its log gives, if the server lets us read it."""
    if task.state != "FAILED":
        return task
    reason = find_reason(server, run_id, task.server_name, ending.details)
    if task.driver_failed:
        reason = f"{DRIVER_FAILED} ({reason})" if reason else DRIVER_FAILED
    return dataclasses.replace(task, message=reason or task.message)


def _explain_failure(ending: Ending, submitted: Submitted, server: Server) -> str:
    failed = [task for task in ending.tasks if task.state == "FAILED"]
    lines = [f"{task.name}: {_explain_state(task)}" for task in failed]
    if not failed and ending.message:
        lines = [ending.message]
    named = f" at {', '.join(task.name for task in failed)}" if failed else ""
    return "\n".join(
        [
            f"the run {ending.state.lower()}{named}:",
            f"  {submitted.url}",
            *(wrap_text(line, "  ", "    ") for line in lines),
            "  what the tasks and Kubernetes say of it, in a line:",
            why_command(server, submitted.run_id or ""),
        ]
    )


def _explain_state(task: Task) -> str:
    return task.message or "the server gives no reason"


def _start_recurring(
    server: Server, wanted: Submission, submitted: Submitted, cron: str, what: dict[str, Any], say: Say
) -> None:
    name = what["display_name"]
    former = server.recurring_run(what["experiment_id"], name)
    if former is not None:
        submitted.recurring_run_id = str(former.recurring_run_id)
        if _is_same(former, cron, what):
            say(f"recurring run {name!r} ({cron}): is there already")
        elif not wanted.replace:
            raise UsageError(
                f"--cron: experiment {submitted.experiment!r} has a recurring run {name!r} with another "
                f"schedule ({_schedule(former)}), version or parameters, and two would train under one root: "
                "--replace it, or give another --run-name"
            )
    if former is None or not _is_same(former, cron, what):
        submitted.recurring_run_id = server.start_recurring_run(cron, **what)
        if former is not None:
            # Not before there is another one.
            server.delete_recurring_run(str(former.recurring_run_id))
        instead = " in place of the former one" if former is not None else ""
        say(f"recurring run {name!r} ({cron}; in UTC unless the server says otherwise): made{instead}")
    submitted.url = f"{server.host}/#/recurringrun/details/{submitted.recurring_run_id}"
    say(f"  {submitted.url}")


def _schedule(former: Any) -> str | None:
    schedule = former.trigger.cron_schedule if former.trigger else None
    return schedule.cron if schedule else None


def _is_same(former: Any, cron: str, what: dict[str, Any]) -> bool:
    version = former.pipeline_version_reference
    parameters = (former.runtime_config.parameters if former.runtime_config else None) or {}
    return (
        _schedule(former) == cron
        and version is not None
        and version.pipeline_version_id == what["pipeline_version_reference"]["pipeline_version_id"]
        and parameters == what["runtime_config"]["parameters"]
        # Without one asked for, the server puts its default there.
        and what["service_account"] in (None, former.service_account)
        and former.mode == "ENABLE"
    )
