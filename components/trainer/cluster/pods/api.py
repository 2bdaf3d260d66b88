"""The few requests to the Kubernetes API that worker pods take, and what its refusals mean.

The client is imported when it is needed: it is large, and most trainings have no Kubernetes around them.
"""

import contextlib
import json
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import urllib3

from components.base.certificates import accept_older_authorities
from components.base.errors import MiranteError

ROLE = "kubeflow/manifests/worker-rbac.yaml"
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# To connect, and between two bytes of an answer.
_TIMEOUTS_SECS = (10, 60)
_LOG_LINES = 40


class UnansweredError(MiranteError):
    """The API does not answer now; it may later."""


class Kubernetes:
    """The cluster that this process' pod is in.

    Raises:
        MiranteError: This process is in none.
    """

    def __init__(self) -> None:
        from kubernetes import client, config

        configuration = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=configuration)
            self.namespace = (_SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
        except (config.ConfigException, OSError) as e:
            raise MiranteError(
                "kubeflow.workers: only a Trainer that is a pod itself, with its service account mounted, "
                f"can start worker pods ({e}). Elsewhere start the machines by hand, with TF_CONFIG: see "
                "docs/training.md"
            ) from e
        self._api_exception = client.ApiException
        api_client = client.ApiClient(configuration)
        accept_older_authorities(api_client)
        self._core = client.CoreV1Api(api_client)
        self._batch = client.BatchV1Api(api_client)

    def own_pod(self) -> dict[str, Any]:
        """Return this process' pod, as the API has it in JSON."""
        # KFP says it; else a pod's host is called as the pod.
        name = os.environ.get("KFP_POD_NAME") or socket.gethostname()
        content = self._call("get", "pods", self._core.read_namespaced_pod, name, self.namespace)
        return dict(json.loads(content))

    def create_service(self, service: dict[str, Any]) -> None:
        """Create a Service."""
        self._call("create", "services", self._core.create_namespaced_service, self.namespace, service)

    def create_job(self, job: dict[str, Any]) -> None:
        """Create a Job."""
        self._call("create", "jobs", self._batch.create_namespaced_job, self.namespace, job)

    def pods(self, labels: str) -> list[dict[str, Any]]:
        """Return the pods with these labels, as the API has them in JSON."""
        content = self._call(
            "list", "pods", self._core.list_namespaced_pod, self.namespace, label_selector=labels
        )
        return list(json.loads(content)["items"])

    def log_end(self, pod_name: str) -> str:
        """Return the last lines of a pod's log."""
        content = self._call(
            "get",
            "pods/log",
            self._core.read_namespaced_pod_log,
            pod_name,
            self.namespace,
            tail_lines=_LOG_LINES,
        )
        return content.decode(errors="replace")

    def delete(self, name: str) -> None:
        """Delete the Job, pods and Service of this name, if they exist."""
        # The Service also where the Job cannot be removed.
        with contextlib.ExitStack() as stack:
            for resource, delete in (
                ("services", self._core.delete_namespaced_service),
                ("jobs", self._batch.delete_namespaced_job),
            ):
                stack.callback(
                    self._call,
                    "delete",
                    resource,
                    delete,
                    name,
                    self.namespace,
                    propagation_policy="Background",
                )

    def _call(
        self, verb: str, resource: str, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> bytes:
        try:
            # As it comes: the client's own classes drop, or refuse, what is newer than they are.
            response = function(*args, **kwargs, _preload_content=False, _request_timeout=_TIMEOUTS_SECS)
            return bytes(response.data)
        except self._api_exception as e:
            _check_certificate(e)
            said = _message(e.body) or str(e.reason)
            if e.status == 404 and verb == "delete":
                return b""
            if e.status in (401, 403):
                raise MiranteError(
                    f"kubeflow.workers: the Trainer's service account may not {verb} {resource} in namespace "
                    f"{self.namespace}: {said}. Give it the Role mirante-workers: put its name and this "
                    f"namespace into {ROLE}, then kubectl apply -f {ROLE}"
                ) from e
            kind = UnansweredError if e.status >= 500 or e.status == 429 else MiranteError
            raise kind(
                f"kubeflow.workers: Kubernetes refuses to {verb} {resource} in namespace {self.namespace} "
                f"({e.status}): {said}"
            ) from e
        except urllib3.exceptions.HTTPError as e:
            _check_certificate(e)
            raise UnansweredError(f"kubeflow.workers: the Kubernetes API does not answer: {e}") from e


def _check_certificate(error: Exception) -> None:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        reason = re.search(r"certificate verify failed: ([^(]*[^( ])", str(error))
        raise MiranteError(
            "kubeflow.workers: the certificate of the Kubernetes API is not for this host, or not signed by "
            f"the authority that this pod was given ({_SERVICE_ACCOUNT / 'ca.crt'}): "
            f"{reason[1] if reason else error}; ask the cluster's administrator"
        ) from error


def _message(body: str | bytes | None) -> str:
    try:
        return str(json.loads(body or "")["message"])
    except (ValueError, KeyError, TypeError):
        return ""
