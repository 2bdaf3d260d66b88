"""Kubeflow Pipelines itself, started by `up.sh` in the folder that MIRANTE_KFP_CLUSTER names."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.kfp_check import CLUSTER, ROOT

UP = CLUSTER / "up.sh"
# Of a whole run, on a busy machine.
RUN_SECS = 1500
# Until a namespace surely has its account.
_ACCOUNT_SECS = 20
_UP_SECS = 900


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A server of Kubeflow Pipelines, with or without machines for its pods.

    Attributes:
        environment: What `up.sh` needs to find it again.
        host: Its address.
    """

    environment: dict[str, str]
    host: str

    @property
    def folder(self) -> Path:
        """Where the cluster keeps its state."""
        return Path(self.environment["T"])

    @property
    def volume(self) -> Path:
        """The folder of this machine that the tasks see as /mirante."""
        return self.folder / "run/pv/mirante"

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Return what kubectl says, in the namespace of the runs."""
        return run_up(self.environment, "kubectl", "-n", "kubeflow", *arguments, given=given)

    def submit(self, package: Path, *options: str, code: int | None = 0) -> dict[str, Any]:
        """Return the result of `mirante submit` as JSON, with its exit code as `code`, its lines as `log`."""
        command = [sys.executable, "-m", "pipeline.commands", "submit", str(package)]
        done = subprocess.run(
            [*command, "--host", self.host, "--json", *options],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_SECS,
        )
        assert code is None or done.returncode == code, done.stderr
        result = json.loads(done.stdout) if done.stdout else {"error": done.stderr}
        return {**result, "code": done.returncode, "log": done.stderr}

    def messages(self, run_id: str) -> str:
        """Return what Kubernetes and the tasks say of a run, by the command that `mirante submit` prints."""
        return self.kubectl(
            *("get", "workflows", "-l", f"pipeline/runid={run_id}", "-o", "jsonpath={..message}")
        )

    def pods(self, run_id: str, phase: str | None = None) -> list[dict[str, Any]]:
        """Return the pods of a run, the oldest first."""
        found = json.loads(self.kubectl("get", "pods", "-l", f"pipeline/runid={run_id}", "-o", "json"))
        pods = sorted(found["items"], key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        return [pod for pod in pods if phase in (None, pod["status"].get("phase"))]


def run_up(environment: dict[str, str], *arguments: str, given: str | None = None) -> str:
    """Return what `up.sh` prints; an assertion fails where it does."""
    done = subprocess.run(
        [str(UP), *arguments],
        env=environment,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=_UP_SECS,
    )
    assert done.returncode == 0, f"up.sh {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@contextlib.contextmanager
def running(*steps: Sequence[str]) -> Iterator[Cluster]:
    """Run the steps of `up.sh`, yield the cluster, and remove it.

    With T in the environment, the work folder of a cluster that runs and has the image, that one is used and
    left running.
    """
    assert UP.is_file(), f"no Kubeflow Pipelines: {UP} is missing; set MIRANTE_KFP_CLUSTER to its folder"
    environment = {**os.environ, "MIRANTE": str(ROOT), "PYTHON": sys.executable}
    with contextlib.ExitStack() as stack:
        if "T" in os.environ:
            # kube-proxy ends when its settings are written again.
            steps = tuple(step for step in steps if step[0] == "deploy")
        else:
            environment["T"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="kfp-"))
            stack.callback(run_up, environment, "wipe")
        for step in steps:
            try:
                run_up(environment, *step)
            except AssertionError as e:
                # On a busy machine Kubernetes makes a new namespace's account late.
                if 'serviceaccount "default" not found' not in str(e):
                    raise
                time.sleep(_ACCOUNT_SECS)
                run_up(environment, *step)
        yield Cluster(environment, run_up(environment, "host").strip())


@contextlib.contextmanager
def running_pods(image: str) -> Iterator[Cluster]:
    """Start a cluster of one node with an image of Docker in it, and with the volume of the tasks."""
    with running(["start"], ["deploy"], ["image", image]) as cluster:
        owner = (ROOT / "kubeflow/manifests/volume-owner.yaml").read_text(encoding="utf-8")
        cluster.kubectl("delete", "job", "mirante-volume-owner", "--ignore-not-found")
        cluster.kubectl(
            "apply", "-f", "-", given=owner.replace("image: busybox", "image: localhost/busybox:kfp")
        )
        cluster.kubectl("wait", "--for=condition=complete", "job/mirante-volume-owner", "--timeout=120s")
        yield cluster


def wait_until(holds: Callable[[], Any], secs: float, what: str) -> Any:
    """Return the first result of a function that is true."""
    until = time.monotonic() + secs
    while not (result := holds()):
        assert time.monotonic() < until, f"{what}: not within {secs:.0f} s"
        time.sleep(0.5)
    return result
