"""Starts the worker pods of a training, waits until they are there, and stops them in the end."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from components.base.errors import MiranteError
from components.trainer.cluster.pods.api import Kubernetes, UnansweredError
from components.trainer.cluster.pods.config import WorkerPodsConfig
from components.trainer.cluster.pods.environment import tf_config
from components.trainer.cluster.pods.manifest import (
    cluster_addresses,
    worker_job,
    worker_labels,
    worker_service,
    workers_name,
)

logger = logging.getLogger("mirante.trainer")

_POLL_SECS = 2.0


@contextlib.contextmanager
def worker_pods(config: WorkerPodsConfig, root: str) -> Iterator[None]:
    """Run worker pods for the time of the context, with this process as their chief by TF_CONFIG.

    The Job, its pods and the Service are removed in the end, whatever happens in between; should this process
    be killed, they go with its pod.

    Args:
        config: How many.
        root: The pipeline's root, which all pods see under the same path.

    Raises:
        MiranteError: This process is in no pod, may not start others, or they do not come up in time.
    """
    cluster = Kubernetes()
    pod = cluster.own_pod()
    if not pod.get("status", {}).get("podIP"):
        raise MiranteError(f"kubeflow.workers: Kubernetes gives no IP for the pod {pod['metadata']['name']}")
    name = workers_name(pod)
    former = os.environ.get("TF_CONFIG")
    try:
        cluster.create_service(worker_service(pod, config))
        # By the very interpreter that this process has: it is the same image.
        cluster.create_job(
            worker_job(
                pod,
                config,
                [sys.executable, "-m", "pipeline.commands", "worker", root],
                as_root=os.getuid() == 0,
            )
        )
        logger.info("worker pods: %d, of Job %s in %s", config.replicas - 1, name, cluster.namespace)
        _wait(cluster, worker_labels(pod), name, config)
        os.environ["TF_CONFIG"] = tf_config(cluster_addresses(pod, config), 0)
        yield
    except MiranteError:
        _tell_ends(cluster, worker_labels(pod))
        raise
    finally:
        if former is None:
            os.environ.pop("TF_CONFIG", None)
        else:
            os.environ["TF_CONFIG"] = former
        try:
            cluster.delete(name)
        except MiranteError as e:
            logger.warning(
                "the Job and the Service %s could not be removed and go with the Trainer's pod: %s", name, e
            )


def _wait(cluster: Kubernetes, labels: str, name: str, config: WorkerPodsConfig) -> None:
    """Wait until all workers run."""
    count = config.replicas - 1
    began = time.monotonic()
    logged = ""
    while True:
        try:
            pods = {_index(pod): pod for pod in cluster.pods(labels)}
            running = [index for index, pod in pods.items() if _phase(pod) == "Running"]
            lost = {index: pod for index, pod in pods.items() if _phase(pod) in ("Failed", "Succeeded")}
            reasons = [f"worker {i}: {_why(pod)}" for i, pod in sorted(pods.items()) if i not in running]
            if len(pods) < count:
                reasons.append(f"{len(pods)} of {count} are made (see the events of Job {name})")
            state = "; ".join(reasons)
        except UnansweredError as e:
            running, lost, state = [], {}, str(e)
        secs = time.monotonic() - began
        if lost:
            index, pod = min(lost.items())
            raise MiranteError(
                f"kubeflow.workers: worker {index} ended before training began: {_why(pod)}. The log has the "
                "end of what it said"
            )
        if len(running) == count:
            logger.info("worker pods: all run, after %.0f s", secs)
            return
        if secs > config.startup_timeout_secs:
            raise MiranteError(
                f"kubeflow.workers: {len(running)} of {count} worker pods run after "
                f"{config.startup_timeout_secs} s (kubeflow.workers.startup_timeout_secs): {state}. Make "
                "room for them, ask for fewer replicas, or wait longer"
            )
        if state != logged:
            logged = state
            logger.info("worker pods: %d of %d run; %s", len(running), count, state)
        time.sleep(_POLL_SECS)


def _index(pod: Mapping[str, Any]) -> str:
    annotations = pod["metadata"].get("annotations") or {}
    return str(annotations.get("batch.kubernetes.io/job-completion-index", pod["metadata"]["name"]))


def _phase(pod: Mapping[str, Any]) -> str:
    return str(pod.get("status", {}).get("phase", "Unknown"))


def _why(pod: Mapping[str, Any]) -> str:
    """Return why a pod does not run, in Kubernetes' words."""
    status = pod.get("status", {})
    for container in status.get("containerStatuses") or []:
        state = container.get("state", {})
        for what in (state.get("waiting"), state.get("terminated")):
            if what:
                code = f"exit code {what['exitCode']}" if "exitCode" in what else ""
                return ", ".join(text for text in (what.get("reason"), code, what.get("message")) if text)
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") != "True":
            return f"{condition.get('reason')}: {condition.get('message')}"
    return ", ".join(text for text in (_phase(pod), status.get("reason"), status.get("message")) if text)


def _tell_ends(cluster: Kubernetes, labels: str) -> None:
    """Log the last lines of failed workers, since their logs are deleted with them."""
    try:
        for pod in cluster.pods(labels):
            if _phase(pod) == "Failed":
                name = pod["metadata"]["name"]
                logger.error("worker %s: %s; the end of its log:", _index(pod), _why(pod))
                for line in cluster.log_end(name).splitlines():
                    logger.error("  %s: %s", name, line)
    except MiranteError as e:
        logger.warning("the logs of the worker pods are not available: %s", e)
