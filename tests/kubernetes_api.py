"""A stand-in for the Kubernetes API, which cannot be had where tests run: as much of it as worker pods take.

It keeps what it is sent over HTTP by the real client. It makes the pods of a Job and lists them in the states
that a test has written, one further each time that somebody looks; it runs nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

import yaml

from tests.kfp_api import Request

GOLDEN = Path(__file__).with_name("golden")
RUNNING = {"phase": "Running"}
UNSCHEDULABLE = {
    "phase": "Pending",
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        }
    ],
}
FAILED = {
    "phase": "Failed",
    "containerStatuses": [{"name": "main", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}],
}


def trainer_pod() -> dict[str, Any]:
    """The pod of a Trainer's task as Argo and KFP make it."""
    pod = yaml.safe_load((GOLDEN / "trainer_pod.yaml").read_text(encoding="utf-8"))
    assert isinstance(pod, dict)
    return pod


@functools.cache
def _read_rights() -> frozenset[str]:
    """Return what the Role for worker pods allows, as `verb resource`."""
    manifest = GOLDEN.parents[1] / "kubeflow" / "manifests" / "worker-rbac.yaml"
    role, _ = yaml.safe_load_all(manifest.read_text(encoding="utf-8"))
    return frozenset(
        f"{verb} {resource}"
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )


@dataclasses.dataclass
class KubernetesApi:
    """The objects of the API, and its state.

    Attributes:
        pod: The Trainer's.
        script: Statuses of a Job's pods at each look; the last ones stay.
        forbidden: What is refused with 403 besides all that the manifest's Role does not allow, as
            `verb resource`.
        down: How many requests to come are answered with 503.
    """

    pod: dict[str, Any] = dataclasses.field(default_factory=trainer_pod)
    script: list[list[dict[str, Any]]] = dataclasses.field(default_factory=lambda: [[RUNNING, RUNNING]])
    forbidden: tuple[str, ...] = ()
    down: int = 0
    log: str = "line 1\nthe last line\n"
    requests: list[str] = dataclasses.field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    services: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    # Also of what was deleted.
    made: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def answer(self, request: Request) -> tuple[int, Any]:
        """Status and body."""
        assert request.headers["authorization"] == "Bearer the-service-accounts"
        match = re.fullmatch(
            r"/(?:api/v1|apis/batch/v1)/namespaces/kubeflow/(\w+)(?:/([\w-]+))?(/log)?", request.path
        )
        assert match, request.path
        resource, name, log = match.groups()
        verbs = {"GET": "get" if name else "list", "POST": "create", "DELETE": "delete"}
        done = f"{verbs[request.method]} {resource}{log or ''}"
        if done in self.forbidden or done not in _read_rights():
            who = 'User "system:serviceaccount:kubeflow:pipeline-runner"'
            return self._status(
                403, f'{resource} is forbidden: {who} cannot {done} in the namespace "kubeflow"'
            )
        if self.down:
            self.down -= 1
            return self._status(503, "the server is currently unable to handle the request")
        if resource == "pods":
            return self._pods(request, name, log)
        store = {"jobs": self.jobs, "services": self.services}[resource]
        if request.method == "POST":
            assert request.body is not None
            self.made.append(request.body)
            store[request.body["metadata"]["name"]] = request.body
            return 201, request.body
        assert request.method == "DELETE"
        if store.pop(name, None) is None:
            return self._status(404, f'{resource} "{name}" not found')
        return self._status(200, "")

    def _pods(self, request: Request, name: str | None, log: str | None) -> tuple[int, Any]:
        if log:
            # A real one sends plain text; the client takes this as well.
            return 200, self.log
        if name:
            return (200, self.pod) if name == self.pod["metadata"]["name"] else self._status(404, "no pod")
        (job,) = self.jobs.values()
        labels = job["spec"]["template"]["metadata"]["labels"]
        wanted = dict(label.split("=") for label in request.query["labelSelector"].split(","))
        assert wanted.items() <= labels.items()
        statuses = self.script[0] if len(self.script) == 1 else self.script.pop(0)
        return 200, {
            "items": [
                {
                    "metadata": {
                        "name": f"{job['metadata']['name']}-{index}-x7k2p",
                        "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
                    },
                    "status": status,
                }
                for index, status in enumerate(statuses)
            ]
        }

    def _status(self, code: int, message: str) -> tuple[int, Any]:
        return code, {"kind": "Status", "apiVersion": "v1", "message": message, "code": code}
