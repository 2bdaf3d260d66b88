"""The Kubernetes objects of the worker pods, made after the Trainer's own pod.

Objects are dicts as the API has them in JSON (`kubectl get -o json`), so that nothing here needs a cluster or
its client. Source: the Kubernetes API, batch/v1 Job and v1 Service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.trainer.cluster.pods.config import REQUEST, WorkerPodsConfig
from components.trainer.cluster.pods.environment import job_environment

# Seconds that a finished worker is kept for inspection, if the Trainer could not remove it.
_KEPT_SECS = 600
# For the chief to begin once the last of them runs.
_CHIEF_SECS = 60
# The containers of a task's pod that Argo and KFP add have the names `init` and `wait`; the task's is this.
_MAIN = "main"
# What Kubernetes, Argo and KFP's launcher put into every pod of a task, and a worker has no use for.
_NOT_VOLUMES = (
    "kube-api-access-",
    "var-run-argo",
    "tmp-dir-argo",
    "input-artifacts",
    "argo-",
    "kfp-launcher",
)
_NOT_VARIABLES = ("ARGO_", "KFP_", "MIRANTE_METADATA_", REQUEST)
# Where a pod may run and as whom: a worker's place is like the Trainer's.
_POD_KEYS = (
    "serviceAccountName",
    "imagePullSecrets",
    "nodeSelector",
    "tolerations",
    "affinity",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
)
_CONTAINER_KEYS = ("image", "imagePullPolicy", "workingDir", "envFrom", "resources")
# What Kubernetes' PodSecurity level `restricted` asks for; the Trainer's own container may say otherwise.
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def workers_name(pod: Mapping[str, Any]) -> str:
    """Return the name of the Job and Service of a Trainer's workers; each attempt has its own."""
    return f"mirante-workers-{pod['metadata']['uid'].partition('-')[0]}"


def cluster_addresses(pod: Mapping[str, Any], config: WorkerPodsConfig) -> list[str]:
    """Return `host:port` of all training processes, the Trainer's pod first."""
    name, namespace = workers_name(pod), pod["metadata"]["namespace"]
    ip = pod["status"]["podIP"]
    hosts = [f"[{ip}]" if ":" in ip else ip]
    # An Indexed Job names each pod's host so; the Service of the pods' subdomain makes it known.
    hosts += [f"{name}-{index}.{name}.{namespace}.svc" for index in range(config.replicas - 1)]
    return [f"{host}:{config.port}" for host in hosts]


def worker_service(pod: Mapping[str, Any], config: WorkerPodsConfig) -> dict[str, Any]:
    """Return the headless Service that gives the workers names."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(pod),
        "spec": {
            "clusterIP": "None",
            # Their names are needed before they answer.
            "publishNotReadyAddresses": True,
            "selector": _labels(pod),
            "ports": [{"name": "grpc", "port": config.port}],
        },
    }


def worker_job(
    pod: Mapping[str, Any], config: WorkerPodsConfig, command: Sequence[str], *, as_root: bool = False
) -> dict[str, Any]:
    """Return the Job of the workers.

    Args:
        pod: The Trainer's own pod, as the API gives it.
        config: How many.
        command: What a worker runs.
        as_root: Whether the Trainer runs as root, as its image says.
    """
    main = _main_container(pod)
    wait_secs = config.startup_timeout_secs + _CHIEF_SECS
    variables = job_environment(cluster_addresses(pod, config), wait_secs)
    volumes = [
        volume for volume in pod["spec"].get("volumes", []) if not volume["name"].startswith(_NOT_VOLUMES)
    ]
    names = {volume["name"] for volume in volumes}
    container = {
        "name": _MAIN,
        "command": list(command),
        **{key: main[key] for key in _CONTAINER_KEYS if main.get(key)},
        "securityContext": {
            **_RESTRICTED,
            **({} if as_root else {"runAsNonRoot": True}),
            **main.get("securityContext", {}),
        },
        "env": [
            *(
                variable
                for variable in main.get("env", [])
                if not variable["name"].startswith(_NOT_VARIABLES) and variable["name"] not in variables
            ),
            *({"name": name, "value": value} for name, value in variables.items()),
        ],
        "ports": [{"name": "grpc", "containerPort": config.port}],
        "volumeMounts": [mount for mount in main.get("volumeMounts", []) if mount["name"] in names],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(pod),
        "spec": {
            "completionMode": "Indexed",
            "completions": config.replicas - 1,
            "parallelism": config.replicas - 1,
            # A training that has lost a worker is over; the Trainer's next attempt starts new ones.
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": _KEPT_SECS,
            "template": {
                "metadata": {
                    # In a mesh, a sidecar would outlive the worker, and get between the processes.
                    "labels": {**_labels(pod), "sidecar.istio.io/inject": "false"},
                    "annotations": {"sidecar.istio.io/inject": "false"},
                },
                "spec": {
                    "subdomain": workers_name(pod),
                    "restartPolicy": "Never",
                    # They ask nothing of Kubernetes.
                    "automountServiceAccountToken": False,
                    **{key: pod["spec"][key] for key in _POD_KEYS if pod["spec"].get(key)},
                    "containers": [container],
                    "volumes": volumes,
                },
            },
        },
    }


def worker_labels(pod: Mapping[str, Any]) -> str:
    """Return the labels of the worker pods, for `kubectl get pods -l`."""
    return ",".join(f"{key}={value}" for key, value in _labels(pod).items())


def _labels(pod: Mapping[str, Any]) -> dict[str, str]:
    return {"app.kubernetes.io/name": "mirante-worker", "app.kubernetes.io/instance": workers_name(pod)}


def _metadata(pod: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": workers_name(pod),
        "labels": _labels(pod),
        # They go when the Trainer's pod does, however it goes.
        "ownerReferences": [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": pod["metadata"]["name"],
                "uid": pod["metadata"]["uid"],
            }
        ],
    }


def _main_container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    containers: list[dict[str, Any]] = pod["spec"]["containers"]
    return next((container for container in containers if container["name"] == _MAIN), containers[0])
