"""A stand-in for a Kubeflow Pipelines server, which cannot be had where tests run.

It speaks those parts of the REST API v2beta1 that `mirante submit` uses, over HTTP to the real client, and
keeps what it was sent, so that tests look at what went over the wire. What it checks of requests it checks as
the API's definition has it; nothing runs on it: a run goes through the states that a test has written for it,
one further each time that somebody looks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import email
import email.policy
import json
import re
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

API = "/apis/v2beta1"
NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.timezone.utc)


def task(name: str, state: str, secs: float | None = None, **more: Any) -> dict[str, Any]:
    """A task as the server tells of it, started at NOW."""
    details = {"task_id": f"id-{name}", "display_name": name, "state": state, "start_time": NOW.isoformat()}
    # Of what has not ended, it tells the beginning of time.
    end = NOW + datetime.timedelta(seconds=secs) if secs is not None else datetime.datetime(1970, 1, 1)
    return {**details, "end_time": end.isoformat(), **more}


@dataclasses.dataclass
class KfpApi:
    """The state of the server, and the requests that it received.

    Attributes:
        multi_user: Whether every request must name a namespace.
        token: That requests must bear; None for none.
        forbidden: Requests that are refused with 403, as `METHOD /path`.
        script: What a run is at each look, `(state, tasks)`; the last one stays.
        down: How many requests to come are answered with 503.
        requests: `METHOD /path?query` of all, in order.
        pipelines: By id, and so on: as they were sent, with the id.
        uploads: The bytes of each version, by its id.
        logs: Of pods, by Argo's ids of them; `ui_logs` by the pods' names, as KFP's UI has them.
        page_size: Items that a list gives at most, however many are asked for.
    """

    multi_user: bool = False
    token: str | None = None
    forbidden: tuple[str, ...] = ()
    script: list[tuple[str, list[dict[str, Any]]]] = dataclasses.field(
        default_factory=lambda: [("SUCCEEDED", [])]
    )
    down: int = 0
    page_size: int = 2
    requests: list[str] = dataclasses.field(default_factory=list)
    pipelines: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    versions: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    uploads: dict[str, bytes] = dataclasses.field(default_factory=dict)
    experiments: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    recurring_runs: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    logs: dict[str, str] = dataclasses.field(default_factory=dict)
    ui_logs: dict[str, str] = dataclasses.field(default_factory=dict)
    host: str = ""

    def answer(self, request: Request) -> tuple[int, Any]:
        """Status and body."""
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            # There are gateways that are as unwise as this.
            return 401, {"error": f"bad credentials: {request.headers.get('Authorization')}"}
        if f"{request.method} {request.path}" in self.forbidden:
            return 403, {"error": "PermissionDenied: User 'me@example.com' is not authorized", "code": 7}
        if self.down:
            self.down -= 1
            return 503, {"error": "upstream connect error"}
        path = request.path.removeprefix(API)
        scoped = request.query.get("namespace") or (request.body or {}).get("namespace")
        if self.multi_user != bool(scoped) and path in ("/pipelines", "/experiments"):
            return 400, {
                "error": "Invalid input error: a namespace is for several users, and for them needed"
            }
        for pattern, answer in (
            (r"GET /healthz", self._healthz),
            (r"GET /(pipelines)", self._list),
            (r"POST /(pipelines)", self._create),
            (r"GET /pipelines/([\w-]+)/versions", self._list_versions),
            (r"POST /pipelines/upload_version", self._upload),
            (r"GET /(experiments)", self._list),
            (r"POST /(experiments)", self._create),
            (r"POST /(runs)", self._start),
            (r"GET /runs/([\w-]+)", self._run),
            (r"GET /(recurringruns)", self._list),
            (r"POST /(recurringruns)", self._start),
            (r"DELETE /recurringruns/([\w-]+)", self._delete),
        ):
            match = re.fullmatch(pattern, f"{request.method} {path}")
            if match and request.path.startswith(API):
                return answer(request, *match.groups())
        return self._log(request)

    def _log(self, request: Request) -> tuple[int, Any]:
        """The log of a pod: the API's by Argo's id of it, or the UI's by its name."""
        match = re.fullmatch(r"/apis/v1alpha1/runs/[\w-]+/nodes/([\w-]+)/log", request.path)
        log = self.logs.get(match[1]) if match else None
        if request.path == "/k8s/pod/logs":
            log = self.ui_logs.get(request.query.get("podname", ""))
        return (404, {"error": "Not Found", "code": 5}) if log is None else (200, log)

    def _store(self, kind: str) -> tuple[str, dict[str, dict[str, Any]]]:
        return {
            "pipelines": ("pipeline_id", self.pipelines),
            "experiments": ("experiment_id", self.experiments),
            "runs": ("run_id", self.runs),
            "recurringruns": ("recurring_run_id", self.recurring_runs),
        }[kind]

    def _healthz(self, request: Request) -> tuple[int, Any]:
        return 200, {"multi_user": self.multi_user}

    def _page(self, request: Request, member: str, items: list[dict[str, Any]]) -> tuple[int, Any]:
        for predicate in json.loads(request.query.get("filter", "{}")).get("predicates", []):
            assert predicate["operation"] == "EQUALS"
            items = [item for item in items if item.get(predicate["key"]) == predicate["stringValue"]]
        first = int(request.query.get("page_token") or 0)
        after = first + self.page_size
        answer: dict[str, Any] = {member: items[first:after]} if items else {}
        return 200, {**answer, **({"next_page_token": str(after)} if after < len(items) else {})}

    def _list(self, request: Request, kind: str) -> tuple[int, Any]:
        items = [
            item
            for item in self._store(kind)[1].values()
            if all(request.query.get(key) in (None, item.get(key)) for key in ("namespace", "experiment_id"))
        ]
        return self._page(request, kind.replace("recurringruns", "recurringRuns"), items)

    def _list_versions(self, request: Request, pipeline_id: str) -> tuple[int, Any]:
        items = [version for version in self.versions.values() if version["pipeline_id"] == pipeline_id]
        return self._page(request, "pipeline_versions", items)

    def _create(self, request: Request, kind: str) -> tuple[int, Any]:
        key, store = self._store(kind)
        assert request.body is not None
        if any(item["display_name"] == request.body["display_name"] for item in store.values()):
            return 409, {"error": "Already exist error", "code": 6}
        item = {**request.body, key: f"{kind[:-1]}-{len(store) + 1}"}
        store[item[key]] = item
        return 200, item

    def _upload(self, request: Request) -> tuple[int, Any]:
        pipeline_id, name = request.query["pipelineid"], request.query["name"]
        if pipeline_id not in self.pipelines:
            return 404, {"error_message": f"Pipeline {pipeline_id} not found"}
        if any((v["pipeline_id"], v["display_name"]) == (pipeline_id, name) for v in self.versions.values()):
            return 409, {"error_message": f"The version {name} already exists"}
        parts = {part.get_param("name", header="content-disposition"): part for part in request.parts()}
        file = parts["uploadfile"]
        assert file.get_filename().endswith((".yaml", ".yml"))
        version = {
            "pipeline_id": pipeline_id,
            "pipeline_version_id": f"version-{len(self.versions) + 1}",
            "display_name": name,
            "description": request.query.get("description", ""),
        }
        self.versions[version["pipeline_version_id"]] = version
        self.uploads[version["pipeline_version_id"]] = file.get_payload(decode=True)
        return 200, version

    def _start(self, request: Request, kind: str) -> tuple[int, Any]:
        key, store = self._store(kind)
        body = request.body
        assert body is not None
        reference = body.get("pipeline_version_reference", {})
        version = self.versions.get(reference.get("pipeline_version_id", ""), {})
        if version.get("pipeline_id") != reference.get("pipeline_id"):
            return 400, {"error": "Invalid input error: no such pipeline version"}
        if body.get("experiment_id") not in self.experiments:
            return 400, {"error": "Invalid input error: no such experiment"}
        if kind == "recurringruns" and len(body["trigger"]["cron_schedule"]["cron"].split()) != 6:
            return 400, {"error": "Invalid input error: Schedule cron is not a supported format"}
        item = {"service_account": "pipeline-runner", **body, key: f"{kind[:-1]}-{len(store) + 1}"}
        store[item[key]] = item
        return 200, item

    def _run(self, request: Request, run_id: str) -> tuple[int, Any]:
        state, tasks = self.script[0] if len(self.script) == 1 else self.script.pop(0)
        run = {key: value for key, value in self.runs[run_id].items() if key != "runtime_config"}
        error = {"error": {"code": 13, "message": "workflow failed"}} if state == "FAILED" else {}
        return 200, {**run, "state": state, "run_details": {"task_details": tasks}, **error}

    def _delete(self, request: Request, recurring_run_id: str) -> tuple[int, Any]:
        del self.recurring_runs[recurring_run_id]
        return 200, {}


class Request:
    """A request, read."""

    def __init__(self, handler: BaseHTTPRequestHandler):
        parts = urllib.parse.urlsplit(handler.path)
        self.method = handler.command
        self.path = parts.path
        self.query = dict(urllib.parse.parse_qsl(parts.query))
        self.headers = handler.headers
        self.content = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        is_json = "json" in (handler.headers.get("Content-Type") or "") and self.content
        self.body: dict[str, Any] | None = json.loads(self.content) if is_json else None

    def parts(self) -> list[Any]:
        """Return the parts of a form with files in it."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        return list(email.message_from_bytes(head + self.content, policy=email.policy.HTTP).iter_parts())


@contextlib.contextmanager
def serving(state: Any, certificate: Path | None = None) -> Iterator[str]:
    """Serve what `state.answer(request)` gives, `(status, body)`; yield the address.

    A body that is a string is HTML or plain text, as it begins; everything else is JSON.
    `state.requests` gets a line for each request.
    With a certificate, CERTIFICATE.crt and CERTIFICATE.key, it is served by HTTPS.
    """

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            request = Request(self)
            state.requests.append(f"{self.command} {self.path}")
            status, body = state.answer(request)
            kind, content = "application/json", json.dumps(body).encode()
            if isinstance(body, str):
                kind, content = "text/html" if body.startswith("<") else "text/plain", body.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 - http.server's names

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{certificate}.crt", f"{certificate}.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if certificate is None else "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{scheme}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
