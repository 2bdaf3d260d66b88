"""A Kubeflow Pipelines server, by its REST API (v2beta1), in the words of `mirante submit`.

Only `kfp_server_api` is imported, the generated client that `kfp` itself uses: a quarter of a second instead
of several.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kfp_server_api as api
import urllib3

from components.base.certificates import accept_older_authorities
from components.base.errors import MiranteError, UsageError
from kubeflow.package import Package

# To connect, and between two bytes of an answer.
_TIMEOUTS_SECS = (10, 60)
_PAGE = 100


class UnreachableError(MiranteError):
    """Nobody answers, or what stands before the server has nobody to ask."""


class RefusedError(UsageError):
    """The server does not let us."""


class Server:
    """A server that has answered.

    Args:
        host: Its address, as a browser shows the UI, without `#/...`.
        namespace: Whose pipelines; None for an installation for one user.
        token: A bearer token, for `Authorization`. It comes in no message.
        ca_cert: The certificates to trust, a PEM file, where they are not among the usual ones.

    Raises:
        UnreachableError: Nobody answers.
        RefusedError: The token, or that there is none, was refused.
        UsageError: `host` is no address, or of something else, or a namespace is needed.
    """

    def __init__(self, host: str, namespace: str | None, token: str | None, ca_cert: Path | None = None):
        parts = urllib.parse.urlsplit(host)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(
                f"--host {host}: expected an address, such as https://kubeflow.example.com/pipeline"
            )
        if parts.username or parts.password:
            raise UsageError("--host: expected an address without user and password; give a --token")
        self.host = urllib.parse.urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        self._token = token
        config = api.Configuration(host=self.host)
        config.ssl_ca_cert = str(ca_cert) if ca_cert else None
        # The code that asks again says so itself.
        config.retries = urllib3.Retry(connect=0, read=0, other=0, redirect=5)
        named = {"header_name": "Authorization", "header_value": f"Bearer {token}"} if token else {}
        self._client = api.ApiClient(config, **named)
        if ca_cert:
            accept_older_authorities(self._client)
        self._pipelines = api.PipelineServiceApi(self._client)
        self._uploads = api.PipelineUploadServiceApi(self._client)
        self._experiments = api.ExperimentServiceApi(self._client)
        self._runs = api.RunServiceApi(self._client)
        self._recurring_runs = api.RecurringRunServiceApi(self._client)
        multi_user = self._serves_several_users()
        if multi_user and not namespace:
            raise UsageError(f"--namespace: {self.host} is for several users: say whose namespace to run in")
        # An installation for one user refuses requests that name one.
        self.namespace = namespace if multi_user else None
        self.leaves_namespace_out = bool(namespace) and not multi_user

    def _serves_several_users(self) -> bool:
        """Return whether the server is for several users; raises where it is not Kubeflow Pipelines."""
        health = api.HealthzServiceApi(self._client)
        try:
            self._call("to tell how it is", health.healthz_service_get_healthz)
        except _NotFoundError as e:
            raise UsageError(f"{self._explain_no_server()}: it knows no /apis/v2beta1/healthz") from e
        response = self._client.last_response
        try:
            answer = json.loads(response.data)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or (answer and "multi_user" not in answer):
            kind = response.getheader("content-type") or "something"
            login = "; a login page, perhaps: is a --token needed?" if "html" in kind else ""
            raise UsageError(
                f"{self._explain_no_server()}: /apis/v2beta1/healthz is answered by {kind}{login}"
            )
        return bool(answer.get("multi_user"))

    def _explain_no_server(self) -> str:
        return f"--host {self.host}: there is no API of Kubeflow Pipelines 2 there"

    def _call(self, what: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # A request's body comes by position: versions of the client call it differently.
        try:
            return function(*args, **kwargs, _request_timeout=_TIMEOUTS_SECS)
        except api.ApiException as e:
            said = self._without_token(_read_message(e))
            if e.status in (401, 403):
                why = "the token is wrong or has expired" if self._token else "no token was given"
                if e.status == 403:
                    why = "this user may not" if self._token else "nobody may without a token"
                raise RefusedError(
                    f"{self.host} refuses {what} ({e.status}): {said or why}. Give a token of somebody who "
                    "may: --token, or MIRANTE_KFP_TOKEN"
                ) from e
            if e.status == 404:
                raise _NotFoundError(f"{self.host}: {what}: not found: {said}") from e
            if e.status in (502, 503, 504):
                raise UnreachableError(
                    f"{self.host} cannot answer now ({e.status}): {said}; try again when it can"
                ) from e
            raise MiranteError(f"{self.host}: {what} failed ({e.status}): {said}") from e
        except urllib3.exceptions.HTTPError as e:
            cause = self._without_token(str(getattr(e, "reason", None) or e))
            # urllib3 begins it with the connection that it is about.
            cause = cause.rpartition("): ")[2] or cause
            raise UnreachableError(
                f"{self.host} cannot be reached ({cause}): is the address right, and a way to it open? One "
                "is `kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80`, then --host "
                "http://localhost:8080"
            ) from e

    def _without_token(self, text: str) -> str:
        return text.replace(self._token, "***") if self._token else text

    def _list_all(self, what: str, function: Callable[..., Any], member: str, **kwargs: Any) -> Iterator[Any]:
        token = ""
        while True:
            page = self._call(what, function, page_size=_PAGE, page_token=token, **kwargs)
            yield from getattr(page, member) or ()
            token = page.next_page_token or ""
            if not token:
                return

    def _scope(self) -> dict[str, str]:
        return {"namespace": self.namespace} if self.namespace else {}

    def _find_named(
        self, what: str, function: Callable[..., Any], member: str, name: str, **kwargs: Any
    ) -> Any:
        predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
        wanted = json.dumps({"predicates": [predicate]})
        found = [
            item
            for item in self._list_all(what, function, member, filter=wanted, **kwargs)
            if item.display_name == name
        ]
        return found[0] if found else None

    def pipeline(self, name: str) -> str:
        """Return the id of the pipeline of this name, which is made where there is none."""
        found = self._find_named(
            "to list pipelines",
            self._pipelines.pipeline_service_list_pipelines,
            "pipelines",
            name,
            **self._scope(),
        )
        if found is None:
            body = api.V2beta1Pipeline(display_name=name, **self._scope())
            if "name" in api.V2beta1Pipeline.openapi_types:  # later servers have both
                body.name = name
            found = self._call("to make a pipeline", self._pipelines.pipeline_service_create_pipeline, body)
        return str(found.pipeline_id)

    def version(self, pipeline_id: str, package: Package, name: str | None) -> tuple[str, str, bool]:
        """Return id and name of the version that has the package's bytes, and whether it was there before.

        Args:
            pipeline_id: Of which pipeline.
            package: What to upload where no version has its bytes.
            name: What the version is called; derived from its bytes where None.

        Raises:
            UsageError: The version of that name has other bytes.
        """
        mark = f"sha256 {package.sha256}"
        for version in self._list_all(
            "to list versions",
            self._pipelines.pipeline_service_list_pipeline_versions,
            "pipeline_versions",
            pipeline_id=pipeline_id,
        ):
            same = mark in (version.description or "")
            if same and name in (None, version.display_name):
                return str(version.pipeline_version_id), str(version.display_name), True
            if not same and name is not None and version.display_name == name:
                raise UsageError(
                    f"--version {name}: this pipeline has a version of that name with other content: give "
                    "another name, or none"
                )
        name = name or package.sha256[:12]
        uploaded = self._call(
            "to upload a version",
            self._uploads.upload_pipeline_version,
            str(package.path),
            name=name,
            pipelineid=pipeline_id,
            description=f"by mirante submit, {mark}",
        )
        return str(uploaded.pipeline_version_id), name, False

    def experiment(self, name: str) -> str:
        """Return the id of the experiment of this name, which is made where there is none."""
        found = self._find_named(
            "to list experiments",
            self._experiments.experiment_service_list_experiments,
            "experiments",
            name,
            **self._scope(),
        )
        if found is None:
            body = api.V2beta1Experiment(display_name=name, **self._scope())
            found = self._call(
                "to make an experiment", self._experiments.experiment_service_create_experiment, body
            )
        return str(found.experiment_id)

    def start_run(self, **what: Any) -> str:
        """Start a run; returns its id. `what` are fields of V2beta1Run."""
        body = api.V2beta1Run(**what)
        return str(self._call("to start a run", self._runs.run_service_create_run, body).run_id)

    def run(self, run_id: str) -> Any:
        """Return the run as it is now, a V2beta1Run."""
        return self._call("to look at a run", self._runs.run_service_get_run, run_id=run_id)

    def text(self, path: str, **query: str) -> str:
        """Return what the server has at a path, if that is plain text; otherwise an empty text."""
        asked = self.host + path, dict(self._client.default_headers), list(query.items())
        try:
            answer = self._client.rest_client.GET(
                *asked, _preload_content=False, _request_timeout=_TIMEOUTS_SECS
            )
            plain = answer.headers.get("content-type", "").startswith("text/plain")
            return str(answer.data.decode(errors="replace")) if plain else ""
        except (api.ApiException, urllib3.exceptions.HTTPError):
            return ""

    def recurring_run(self, experiment_id: str, name: str) -> Any:
        """Return the recurring run of this name in an experiment, a V2beta1RecurringRun, or None."""
        return self._find_named(
            "to list recurring runs",
            self._recurring_runs.recurring_run_service_list_recurring_runs,
            "recurring_runs",
            name,
            experiment_id=experiment_id,
        )

    def start_recurring_run(self, cron: str, **what: Any) -> str:
        """Make a recurring run, one at a time; returns its id. `what` are fields of V2beta1RecurringRun."""
        body = api.V2beta1RecurringRun(
            mode=api.RecurringRunMode.ENABLE,
            trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=cron)),
            # Two at a time would train under one root.
            max_concurrency="1",
            # Those that were missed would all find the same data.
            no_catchup=True,
            **what,
        )
        create = self._recurring_runs.recurring_run_service_create_recurring_run
        return str(self._call("to make a recurring run", create, body).recurring_run_id)

    def delete_recurring_run(self, recurring_run_id: str) -> None:
        """End a recurring run; what it has started continues."""
        delete = self._recurring_runs.recurring_run_service_delete_recurring_run
        self._call("to delete a recurring run", delete, recurring_run_id=recurring_run_id)


class _NotFoundError(MiranteError):
    """404."""


def _read_message(error: api.ApiException) -> str:
    """Return what the server said, or else HTTP's reason."""
    body = error.body if isinstance(error.body, str) else ""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if isinstance(told, dict):
        text = str(told.get("error_message") or told.get("message") or told.get("error") or "")
        if text:
            return text[:1000]
    return str(error.reason or "")
