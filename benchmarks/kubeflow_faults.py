"""Faults on a real cluster: each run ends as an undisturbed one, or fails with its reason named.

    python benchmarks/kubeflow_faults.py [--image mirante:ci] [FAULT]...

(`make accept-kubeflow-faults` does all of it, as root, with the image in Docker.) Starts Kubeflow Pipelines
on a cluster of one node, disturbs runs of digits, prints a line for each fault. Exits with 1 unless each
ends as it should: a run that is to succeed pushes the weights of an undisturbed run, to the byte; a run
that is to fail has its reason in what `mirante submit` prints, or in what the command that it prints shows.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# For the packages next to this folder, when this file is run as a script.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.storage.root_lease import GONE_SECS
from tests.kfp_check import ROOT
from tests.kfp_cluster import Cluster, running_pods, wait_until

AWAY_SECS = 20
DEPLOYMENTS = {
    "object-store": "seaweedfs",
    "api-server": "ml-pipeline",
    "workflow-controller": "workflow-controller",
}


@dataclasses.dataclass(frozen=True)
class Ground:
    """Facts and functions for all faults.

    Attributes:
        cluster: Where the runs are.
        image: Of their pods.
        weights: The digest of what an undisturbed run pushed.
        secs: How long that took.
    """

    cluster: Cluster
    image: str
    folder: Path
    weights: str = ""
    secs: float = 0.0

    def compile(self, name: str, *settings: str, image: str | None = None) -> Path:
        """Return a package of digits with a root of its own."""
        package = self.folder / f"{name}.yaml"
        root = f"kubeflow.pipeline_root=/mirante/faults/{name}"
        given = [argument for setting in (root, *settings) for argument in ("--set", setting)]
        command = [sys.executable, "-m", "pipeline.commands", "compile", "digits"]
        subprocess.run(
            [*command, "--image", image or self.image, "-o", str(package), *given],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return package

    def pushed(self, name: str) -> str:
        """Return the digest of the weights that the runs of a root pushed; of none or two an empty text."""
        found = list(self.cluster.volume.glob(f"faults/{name}/serving/*/variables/variables.data-*"))
        return hashlib.sha256(found[0].read_bytes()).hexdigest() if len(found) == 1 else ""

    def disturb(self, name: str, fault: Callable[[str], None], *settings: str) -> str:
        """Return how a run of digits ended that a fault came upon; the fault gets the run's id."""
        package = self.compile(name, *settings)
        started = time.monotonic()
        run_id = str(self.cluster.submit(package, "--no-follow")["run_id"])
        with ThreadPoolExecutor(1) as pool:
            disturbed = pool.submit(fault, run_id)
            state = wait_until(lambda: self.state(run_id), 1500, f"{name}: the run's end")
            disturbed.result()
        assert state == "Succeeded", f"the run ended {state}: {self.cluster.messages(run_id)}"
        assert self.pushed(name) == self.weights, "the run pushed other weights, or none"
        return f"as undisturbed, in {time.monotonic() - started:.0f} s instead of {self.secs:.0f} s"

    def state(self, run_id: str) -> str | None:
        """Return how a run ended; None while it runs, or while Kubernetes does not say."""
        try:
            phase = self.cluster.kubectl(
                *("get", "workflows", "-l", f"pipeline/runid={run_id}"),
                *("-o", "jsonpath={.items[*].status.phase}"),
            )
        except AssertionError:
            return None
        return phase if phase in ("Succeeded", "Failed", "Error") else None

    def fail(self, package: Path, said: str, *options: str) -> str:
        """Return the reason that submit gives of a run that has to fail."""
        result = self.cluster.submit(package, *options, code=1)
        assert said in " ".join(str(result["error"]).split()), result["error"]
        return f"fails: {said}"


def undisturbed(ground: Ground) -> Ground:
    """Return the ground with what an undisturbed run leaves."""
    started = time.monotonic()
    ground.cluster.submit(ground.compile("undisturbed"))
    secs = time.monotonic() - started
    print(f"undisturbed          SUCCEEDED in {secs:.0f} s", flush=True)
    return dataclasses.replace(ground, weights=ground.pushed("undisturbed"), secs=secs)


def delete_pods(ground: Ground) -> str:
    """Delete the pod of each node once while it runs.

    Argo replaces a pod that is gone when it looks. For others it fails the run, which is submitted again.
    """
    package, deleted, lost = ground.compile("delete-pods", "kubeflow.together=[]"), set[str](), 0
    while True:
        run_id = str(ground.cluster.submit(package, "--no-follow")["run_id"])
        while not (state := ground.state(run_id)):
            for pod in ground.cluster.pods(run_id, "Running"):
                node = pod["metadata"]["annotations"]["workflows.argoproj.io/node-name"].split(".")
                name = pod["metadata"]["name"]
                if node[-1] == "executor(0)" and node[-2] not in deleted and is_at_work(ground, name):
                    ground.cluster.kubectl("delete", "pod", name, "--wait=false", "--ignore-not-found")
                    deleted.add(node[-2])
            time.sleep(1)
        if state == "Succeeded":
            break
        said = ground.cluster.messages(run_id)
        assert "mirante: interrupted" in said, said
        lost += 1
        time.sleep(GONE_SECS)  # until then the root is the lost run's
    assert ground.pushed("delete-pods") == ground.weights
    return (
        f"{len(deleted)} pods deleted: Argo replaced {len(deleted) - lost}, and after each of the others the "
        "next run continued; in the end as undisturbed"
    )


def is_at_work(ground: Ground, pod: str) -> bool:
    """Return whether a task has come to its node; the Trainer's, whether it has something to resume from."""
    try:
        log = ground.cluster.kubectl("logs", pod, "-c", "main")
    except AssertionError:  # it is gone
        return False
    return "mirante " in log and ("Trainer  run" not in log or "epoch 3/" in log)


def stop_server(name: str) -> Callable[[Ground], str]:
    """Return a fault: a deployment is stopped during a run and started again."""

    def stop(ground: Ground) -> str:
        def fault(run_id: str) -> None:
            wait_until(lambda: ground.cluster.pods(run_id, "Running"), 300, "a pod")
            deployment = f"deployment/{DEPLOYMENTS[name]}"
            ground.cluster.kubectl("scale", deployment, "--replicas=0")
            time.sleep(AWAY_SECS)
            ground.cluster.kubectl("scale", deployment, "--replicas=1")

        return ground.disturb(name, fault)

    return stop


def stop_metadata(ground: Ground) -> str:
    """Stop Kubeflow's metadata server during a run and start it again."""

    def fault(run_id: str) -> None:
        wait_until(lambda: ground.cluster.pods(run_id, "Running"), 300, "a pod")
        number = find_metadata_server(ground)
        command = Path(f"/proc/{number}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
        os.kill(number, signal.SIGTERM)
        time.sleep(AWAY_SECS)
        with (ground.cluster.folder / "log/mlmd.log").open("ab") as log:
            again = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        # As `up.sh` knows a process: by its id and its start.
        start = Path(f"/proc/{again.pid}/stat").read_text().rpartition(")")[2].split()[19]
        (ground.cluster.folder / "run/mlmd.pid").write_text(f"{again.pid} {start}\n")

    return ground.disturb("metadata-server", fault)


def stop_metadata_for_good(ground: Ground) -> str:
    """Hold Kubeflow's metadata server for longer than a driver waits."""
    package = ground.compile("no-metadata")
    number = find_metadata_server(ground)
    os.kill(number, signal.SIGSTOP)
    try:
        return ground.fail(package, "the driver failed, with which Kubeflow prepares a task")
    finally:
        os.kill(number, signal.SIGCONT)


def find_metadata_server(ground: Ground) -> int:
    return int((ground.cluster.folder / "run/mlmd.pid").read_text().split()[0])


def fill_claim(ground: Ground) -> str:
    """Run with a root on a volume of 2 MB."""
    small = ground.cluster.folder / "run/pv/small"
    small.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=777", "none", str(small)], check=True)
    storage = {"accessModes": ["ReadWriteMany"]}
    volume = {**storage, "capacity": {"storage": "2Mi"}, "hostPath": {"path": str(small)}}
    volume["claimRef"] = {"namespace": "kubeflow", "name": "small"}
    claim = {**storage, "storageClassName": "", "resources": {"requests": {"storage": "2Mi"}}}
    items = [
        {"apiVersion": "v1", "kind": kind, "metadata": {"name": "small"}, "spec": spec}
        for kind, spec in (("PersistentVolume", volume), ("PersistentVolumeClaim", claim))
    ]
    spec = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    ground.cluster.kubectl("apply", "-f", "-", given=spec)
    volumes = "kubeflow.volumes=[{claim: mirante, mount_path: /mirante}, {claim: small, mount_path: /small}]"
    package = ground.compile("full", volumes, "kubeflow.pipeline_root=/small/digits")
    try:
        return ground.fail(package, "too little space on /small")
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


def share_root(ground: Ground) -> str:
    """Start two runs at once on one root."""
    package = ground.compile("shared")
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: ground.cluster.submit(package, code=None), range(2)))
    failed = [result for result in results if result["code"]]
    assert len(failed) == 1, [result["log"] for result in results]
    assert "is in use" in " ".join(failed[0]["error"].split()), failed[0]["error"]
    assert ground.pushed("shared") == ground.weights
    return "one succeeds, the other fails and names the run that uses the root"


def lack(name: str, said: str, *settings: str, image: str | None = None) -> Callable[[Ground], str]:
    """Return a fault: something that a pod needs is not there. The run is ended when submit has said so."""

    def run(ground: Ground) -> str:
        package = ground.compile(name, *settings, image=image)
        with ThreadPoolExecutor(1) as pool:
            submitted = pool.submit(ground.cluster.submit, package, "--run-name", name, code=1)
            messages = ("get", "workflows", "-o", "jsonpath={..message}")
            wait_until(lambda: said in ground.cluster.kubectl(*messages), 120, said)
            time.sleep(150)
            terminate(ground.cluster.host, name)
            log = " ".join(submitted.result()["log"].split())
        assert "the pod has not started for 120 s; is its image, claim or Secret missing" in log, log
        return f"submit says after 2 minutes that the pod does not start; kubectl: {said}"

    return run


def terminate(host: str, name: str) -> None:
    """End the runs of a name, as the UI does."""
    with urllib.request.urlopen(f"{host}/apis/v2beta1/runs?page_size=100") as answer:
        runs = json.load(answer)["runs"]
    for run in runs:
        if run["display_name"] == name and run["state"] == "RUNNING":
            address = f"{host}/apis/v2beta1/runs/{run['run_id']}:terminate"
            urllib.request.urlopen(urllib.request.Request(address, method="POST")).close()


FAULTS: dict[str, Callable[[Ground], str]] = {
    "delete-pods": delete_pods,
    "metadata-server": stop_metadata,
    **{name: stop_server(name) for name in DEPLOYMENTS},
    "no-metadata": stop_metadata_for_good,
    "full-claim": fill_claim,
    "shared-root": share_root,
    "no-image": lack("no-image", "registry.example.org/nothing", image="registry.example.org/nothing:1"),
    "no-secret": lack(
        "no-secret",
        'secret "nothing" not found',
        "kubeflow.defaults.secrets={TOKEN: {secret: nothing, key: token}}",
    ),
    "no-claim": lack(
        "no-claim",
        'persistentvolumeclaim "nothing" not found',
        "kubeflow.volumes=[{claim: mirante, mount_path: /mirante}, {claim: nothing, mount_path: /nothing}]",
    ),
}


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description="Faults on a real cluster.")
    parser.add_argument("faults", nargs="*", choices=[[], *FAULTS], metavar="FAULT")
    parser.add_argument("--image", default="mirante:ci")
    options = parser.parse_args()
    failed = 0
    with running_pods(options.image) as cluster, tempfile.TemporaryDirectory() as folder:
        ground = undisturbed(Ground(cluster, options.image, Path(folder)))
        for name in options.faults or FAULTS:
            try:
                said = FAULTS[name](ground)
            except AssertionError as e:
                failed += 1
                said = f"FAILED: {e}"
            print(f"{name:20} {said}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
