"""`mirante submit` of a job for Vertex AI: sends it by Google's own SDK, and follows it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.base.errors import MiranteError, NotBlessedError, UsageError
from components.base.words import wrap_text
from kubeflow.follow import PATIENCE_SECS, POLL_SECS
from pipeline.targets.vertex.config import PROJECT, REGION

Say = Callable[[str], None]
_TIMEOUT_SECS = 60.0
_SUCCEEDED = "SUCCEEDED"
_ENDED = (_SUCCEEDED, "FAILED", "CANCELLED", "SKIPPED", "NOT_TRIGGERED")
_WORDS = {_SUCCEEDED: "completed", "SKIPPED": "kept"}
_LOG_IN = "`gcloud auth application-default login`, or GOOGLE_APPLICATION_CREDENTIALS with a key file"


@dataclasses.dataclass(frozen=True)
class VertexSubmission:
    """A submission, as the command's options describe it.

    Attributes:
        package: The job, as `mirante compile --target vertex` writes it.
        project: Google Cloud's project.
        region: Where the job runs.
        endpoint: The API's address; the region's public one where None.
        run_name: What the job is called in the console; as the job says where None.
        service_account: That the tasks run as; the project's default where None.
        follow: Whether to wait for the end.
    """

    package: Path
    project: str
    region: str
    endpoint: str | None = None
    run_name: str | None = None
    service_account: str | None = None
    follow: bool = True


@dataclasses.dataclass
class SubmittedJob:
    """The result of a submission, filled in as it comes; `--json` prints it.

    Attributes:
        job: The job's resource name.
        url: Of the job in the console.
        state: Vertex AI's word for how the job ended, or for where it is.
        tasks: By name: `state`, `seconds`, `message`.
    """

    project: str = ""
    region: str = ""
    job: str | None = None
    url: str | None = None
    state: str | None = None
    tasks: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    error: str | None = None


def submit(wanted: VertexSubmission, submitted: SubmittedJob, say: Say) -> None:
    """Send the job, and follow it.

    Args:
        wanted: What to do.
        submitted: Filled in on the way, so that it tells of what was done also when this raises.
        say: Takes a line for the user.

    Raises:
        UsageError: It is no job, there are no credentials, or Vertex AI refuses it.
        MiranteError: Vertex AI failed, or cannot be reached, or the job failed.
        NotBlessedError: The job succeeded, but pushed nothing.
        KeyboardInterrupt: While the job was followed; the job continues.
    """
    if not re.fullmatch(PROJECT, wanted.project):
        raise UsageError(f"--project: expected an ID as my-project, or a number, got {wanted.project!r}")
    if not re.fullmatch(REGION, wanted.region):
        raise UsageError(f"--region: expected a name as europe-west4, got {wanted.region!r}")
    content, name, tasks = _read_job(wanted.package)
    submitted.project, submitted.region = wanted.project, wanted.region
    # It warns of Python's age, and logs what is said here.
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        # Not `aiplatform.PipelineJob.submit`, which first looks for the bucket for two minutes, and makes one
        # where its name is misspelt.
        from google.cloud.aiplatform_v1 import PipelineJob, PipelineServiceClient

        with _explained(wanted, "to make the job"):
            job = PipelineJob.from_json(content)
            # It goes through proxies, as the other commands' calls do.
            client = PipelineServiceClient(
                transport="rest", client_options={"api_endpoint": _find_endpoint(wanted)}
            )
        job.display_name = wanted.run_name or job.display_name
        job.service_account = wanted.service_account or ""
        parent = f"projects/{wanted.project}/locations/{wanted.region}"
        job_id = time.strftime(f"{name}-%Y%m%d%H%M%S")
        url = (
            f"https://console.cloud.google.com/vertex-ai/locations/{wanted.region}/pipelines/runs/{job_id}"
            f"?project={wanted.project}"
        )
        with client:
            try:
                with _explained(wanted, "to make the job"):
                    made = client.create_pipeline_job(
                        parent=parent, pipeline_job=job, pipeline_job_id=job_id, timeout=_TIMEOUT_SECS
                    )
            except _UnreachableError as e:
                raise MiranteError(f"{e}. If the job was made all the same, it is at {url}") from e
            submitted.job, submitted.url = made.name, url
            say(f"job {job_id}:\n  {url}")
            if wanted.follow:
                _follow(wanted, client, tasks, submitted, say)


def _read_job(package: Path) -> tuple[str, str, list[str]]:
    """Return a job as JSON, its name, and the names of its tasks."""
    try:
        content = package.read_text(encoding="utf-8")
        job = json.loads(content)
        tasks = list(job["pipelineSpec"]["root"]["dag"]["tasks"])
        name = str(job["pipelineSpec"]["pipelineInfo"]["name"])
        if not name or not job["runtimeConfig"]["gcsOutputDirectory"]:
            raise ValueError("no name, or no gcsOutputDirectory")
    except OSError as e:
        raise UsageError(f"{package}: it cannot be read: {e.strerror}") from e
    except (ValueError, KeyError, TypeError) as e:
        raise UsageError(
            f"{package}: no job of Vertex AI: expected pipelineSpec.root.dag.tasks and "
            "runtimeConfig.gcsOutputDirectory; make one with: mirante compile RECIPE --target vertex "
            f"--image REF -o {package.name}"
        ) from e
    return content, name, tasks


def _find_endpoint(wanted: VertexSubmission) -> str:
    return wanted.endpoint or f"{wanted.region}-aiplatform.googleapis.com"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Have Google's libraries log nothing."""
    former = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(former)


class _UnreachableError(MiranteError):
    """Vertex AI does not answer now."""


class _NoQuotaError(MiranteError):
    """Vertex AI was asked more often than the project may now."""


@contextlib.contextmanager
def _explained(wanted: VertexSubmission, what: str) -> Iterator[None]:
    """Turn what Google's libraries raise into the project's errors; none tells a credential."""
    import requests
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth
    from google.protobuf import json_format

    where = f"project {wanted.project}, region {wanted.region}"
    try:
        yield
    except auth.DefaultCredentialsError as e:
        raise UsageError(
            f"no credentials for Google Cloud: expected {_LOG_IN}, got none that can be read"
        ) from e
    except (auth.GoogleAuthError, api.Unauthorized) as e:
        if isinstance(e, auth.TransportError) or getattr(e, "retryable", False):
            raise _UnreachableError(
                "Google's server of credentials does not answer now; is there a network?"
            ) from e
        raise UsageError(f"Google Cloud refuses the credentials; renew them: {_LOG_IN}") from e
    except (api.Forbidden, api.NotFound) as e:
        raise UsageError(
            f"{where}: Vertex AI refuses {what} ({_status(e)}): {_first_line(e)}. Is the project's name "
            "right, is aiplatform.googleapis.com enabled, and has the account roles/aiplatform.user?"
        ) from e
    except api.TooManyRequests as e:
        raise _NoQuotaError(
            f"{where}: Vertex AI has no quota left for this ({_status(e)}): {_first_line(e)}; try later, or "
            "have the quota raised (console, IAM, Quotas)"
        ) from e
    except (api.ServerError, api.RetryError) as e:
        raise _UnreachableError(
            f"{where}: Vertex AI cannot answer now ({_status(e)}): {_first_line(e)}; try again later"
        ) from e
    except api.ClientError as e:
        raise UsageError(f"{where}: Vertex AI refuses {what} ({_status(e)}): {_first_line(e)}") from e
    except (requests.RequestException, ConnectionError) as e:
        raise _UnreachableError(
            f"{_find_endpoint(wanted)} cannot be reached ({type(e).__name__}); are the region and the "
            "network right?"
        ) from e
    except json_format.ParseError as e:
        raise UsageError(f"{wanted.package}: no job of Vertex AI: {e}") from e


def _status(error: Any) -> str:
    code = getattr(error, "code", None)
    return str(int(code)) if code else type(error).__name__


def _first_line(error: Any) -> str:
    """Return what the server says, without the request's address."""
    said = next(iter(str(getattr(error, "message", None) or error).strip().splitlines()), "")
    said = said.partition(": ")[2].strip() if said.startswith(("POST ", "GET ")) else said
    return said.rstrip(".")


def _follow(
    wanted: VertexSubmission, client: Any, names: list[str], submitted: SubmittedJob, say: Say
) -> None:
    """Say each change of a task's state until the job has ended.

    Raises:
        MiranteError: The job failed, or Vertex AI has not answered for ten minutes, or refuses to.
        NotBlessedError: The job succeeded, but pushed nothing.
    """
    width = max(map(len, names), default=0)
    last_answer = time.monotonic()
    while True:
        try:
            with _explained(wanted, "to show the job"):
                job = client.get_pipeline_job(name=submitted.job, timeout=_TIMEOUT_SECS)
                state = job.state.name.removeprefix("PIPELINE_STATE_")
        except MiranteError as e:
            is_passing = isinstance(e, _UnreachableError | _NoQuotaError)
            if not is_passing or time.monotonic() - last_answer > PATIENCE_SECS:
                # However wrong the usage: by now there is a job.
                raise MiranteError(f"{e}. The job continues: {submitted.url}") from e
            time.sleep(POLL_SECS)
            continue
        last_answer = time.monotonic()
        submitted.state = state
        for detail in job.job_detail.task_details:
            _take_in(detail, names, width, submitted, say)
        if state in _ENDED:
            break
        time.sleep(POLL_SECS)
    if state != _SUCCEEDED:
        raise MiranteError(_explain_failure(job, submitted))
    if _has_pushed(job) is False:
        raise NotBlessedError(
            "the job succeeded, but nothing was pushed: the model is not blessed, or was taken back; see the "
            f"outputs of Evaluator, InfraValidator and Pusher: {submitted.url}"
        )
    say(f"job succeeded:\n  {submitted.url}")


def _has_pushed(job: Any) -> bool | None:
    """Return what the Pusher's output says; None where Vertex AI does not show it."""
    for detail in job.job_detail.task_details:
        for artifact in detail.outputs["pushed_model"].artifacts if "pushed_model" in detail.outputs else ():
            if artifact.metadata and "pushed" in artifact.metadata:
                return bool(artifact.metadata["pushed"])
    return None


def _take_in(detail: Any, names: list[str], width: int, submitted: SubmittedJob, say: Say) -> None:
    if detail.task_name not in names:
        return  # the drivers, and the job itself
    state, seconds = detail.state.name, None
    if state in _ENDED and detail.start_time and detail.end_time:
        seconds = (detail.end_time - detail.start_time).total_seconds()
    former = submitted.tasks.get(detail.task_name, {}).get("state")
    message = detail.error.message or None
    submitted.tasks[detail.task_name] = {"state": state, "seconds": seconds, "message": message}
    if state != former:
        took = "" if seconds is None else f"{seconds:8.1f} s"
        say(f"  {detail.task_name:{width}}  {_WORDS.get(state, state.lower()):10}{took}".rstrip())


def _explain_failure(job: Any, submitted: SubmittedJob) -> str:
    reasons = [
        f"{name}: {task['message'] or 'no reason is given'}"
        for name, task in submitted.tasks.items()
        if task["state"] == "FAILED"
    ]
    said = job.error.message
    reasons = reasons or ([said] if said else [])
    told = "".join(f"\n{wrap_text(reason, '  ')}" for reason in reasons)
    return f"the job has ended as {submitted.state}: {submitted.url}{told}"
