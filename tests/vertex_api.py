"""Vertex AI's REST API, as far as `mirante submit` calls it.

The answers have the form of the public API: PipelineJob of aiplatform v1, and the errors of google.rpc.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


class VertexApi(ThreadingHTTPServer):
    """A server on this machine.

    Attributes:
        calls: Method, path and body of each call, in their order.
        refusal: HTTP status, google.rpc status and message with which jobs are refused; None for none.
        authorizations: The headers that came with jobs.
        states: What the job is at each look: its state, and the states of its tasks; or the HTTP status of a
            refusal.
        pushed: What the Pusher's output says; None for nothing.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: list[tuple[str, str, Any]] = []
        self.authorizations: set[str] = set()
        self.refusal: tuple[int, str, str] | None = None
        self.states: list[tuple[str, dict[str, str]] | int] = []
        self.pushed: int | None = None
        self.job: dict[str, Any] = {}

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: VertexApi

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def _send(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        """Make a job."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        api, path = self.server, self.path.partition("?")[0]
        api.authorizations.add(self.headers.get("Authorization", ""))
        api.calls.append(("POST", self.path, json.loads(body)))
        if api.refusal is not None:
            code, status, message = api.refusal
            self._send(code, {"error": {"code": code, "status": status, "message": message}})
            return
        _, _, query = self.path.partition("pipelineJobId=")
        name = f"{path.removeprefix('/v1/')}/{query.partition('&')[0] or 'mine-1'}"
        api.job = {**json.loads(body), "name": name, "state": "PIPELINE_STATE_PENDING"}
        self._send(200, api.job)

    def do_GET(self) -> None:
        """Give the job as it is by now."""
        api = self.server
        api.calls.append(("GET", self.path, None))
        now = api.states[0] if len(api.states) == 1 else api.states.pop(0)
        if isinstance(now, int):
            self._send(now, {"error": {"code": now, "message": "Not now."}})
            return
        state, tasks = now
        metadata = {} if api.pushed is None else {"pushed": api.pushed}
        model = {"artifacts": [{"name": "pushed", "metadata": metadata}]}
        details = [
            {
                "taskName": name,
                "state": of_task,
                "startTime": "2026-01-01T00:00:00Z",
                "endTime": "2026-01-01T00:01:30Z",
                **({"error": {"code": 9, "message": "exit status 4"}} if of_task == "FAILED" else {}),
                **({"outputs": {"pushed_model": model}} if name == "Pusher" else {}),
            }
            for name, of_task in tasks.items()
        ]
        self._send(
            200, {**api.job, "state": f"PIPELINE_STATE_{state}", "jobDetail": {"taskDetails": details}}
        )


@contextmanager
def run_api() -> Iterator[VertexApi]:
    """Start the server; it ends with the block."""
    with VertexApi() as api:
        thread = threading.Thread(target=api.serve_forever, daemon=True)
        thread.start()
        yield api
        api.shutdown()
        thread.join()


def write_credentials(path: Path) -> str:
    """Write the key file of a service account; return what no message may tell of it."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    values = {
        "type": "service_account",
        "project_id": "example",
        "private_key_id": "a-key-id",
        "private_key": key.decode(),
        "client_email": "trainer@example.iam.gserviceaccount.com",
        "token_uri": "http://127.0.0.1:9/token",
    }
    path.write_text(json.dumps(values))
    return key.decode().splitlines()[1]
