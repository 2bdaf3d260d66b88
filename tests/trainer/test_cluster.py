"""Training on several machines, here two processes of one: through the commands, also when a worker dies."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.kfp_api import Request, serving
from tests.kubernetes_api import FAILED, RUNNING, KubernetesApi
from tests.make.commands import INLINE_INGEST, INLINE_MIRANTE, unwrap
from tests.make.quick import quick_environment, quick_mirante, quick_python
from tests.trainer.test_strategy import REPOSITORY, cluster, free_ports

pytestmark = [pytest.mark.long, pytest.mark.slow]
# Long enough to be killed in the middle of it.
SETTINGS = (
    "training.epochs=6",
    "training.patience_epochs=null",
    "training.checkpoints={steps: 20, min_secs: 0}",
)


class Command:
    """A `mirante` command in the background, its output in a file."""

    def __init__(self, name: str, folder: Path, tf_config: str, *arguments: str):
        self.log = folder / f"{name}.log"
        self._file = open(self.log, "w", encoding="utf-8")  # noqa: SIM115 - goes with the test
        self.process = subprocess.Popen(
            [str(quick_python()), "-c", INLINE_MIRANTE, *arguments],
            env={**os.environ, **quick_environment(), "TF_CONFIG": tf_config},
            cwd=folder,
            stdout=self._file,
            stderr=subprocess.STDOUT,
        )

    def wait_for(self, words: str, secs: float) -> None:
        until = time.monotonic() + secs
        while words not in self.text:
            assert self.process.poll() is None, self.text[-3000:]
            assert time.monotonic() < until, f"{words!r} was not said:\n{self.text[-3000:]}"
            time.sleep(0.1)

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")


def start(folder: Path) -> tuple[Command, Command]:
    chief, other = cluster(2)
    settings = [argument for setting in SETTINGS for argument in ("--set", setting)]
    return (
        Command("chief", folder, chief, "run", "digits", "--root", "root", *settings, "--json"),
        Command("worker", folder, other, "worker", "root"),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the root of all trainings, in which the nodes before the Trainer are done once."""
    return tmp_path_factory.mktemp("cluster")


def test_a_worker_is_lost_and_training_goes_on_after_a_restart(folder: Path) -> None:
    chief, worker = start(folder)
    chief.wait_for("training epoch 2/6", secs=240)
    # And with it the process that trains.
    worker.process.kill()
    lost = time.monotonic()
    assert chief.process.wait(timeout=120) == 1
    assert time.monotonic() - lost < 60
    assert "was lost" in chief.text
    assert "training resumes from its last checkpoint" in chief.text
    assert not list((folder / "root").glob("serving/[0-9]*"))

    chief, worker = start(folder)
    assert chief.process.wait(timeout=300) == 0, chief.text[-3000:]
    assert worker.process.wait(timeout=60) == 0, worker.text[-3000:]
    assert "training resumes at step" in chief.text
    result = json.loads(chief.text.splitlines()[-1])
    assert result["metrics"]["accuracy"] > 0.9
    assert "multi_worker (chosen by auto), 2 CPUs on 2 machines" in chief.text
    # The chief alone writes.
    assert len(list((folder / "root" / "serving").glob("[0-9]*"))) == 1
    assert not (folder / "root" / "cluster.json").exists()


def test_a_worker_needs_a_cluster(tmp_path: Path) -> None:
    done = subprocess.run(
        [quick_mirante(), "worker", "root"],
        env={name: value for name, value in os.environ.items() if name != "TF_CONFIG"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "TF_CONFIG names no cluster" in done.stderr


def test_what_else_goes_wrong_is_told_as_it_is(tmp_path: Path) -> None:
    # Not a job: no fault of another machine.
    (tmp_path / "cluster.json").write_text('{"id": "1", "job": {}}', encoding="utf-8")
    done = subprocess.run(
        [quick_mirante(), "worker", str(tmp_path)],
        env={**os.environ, **quick_environment(), "TF_CONFIG": cluster(2)[1]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "mirante: TypeError: " in done.stderr
    assert "was lost" not in done.stderr


@dataclasses.dataclass
class Kubelet(KubernetesApi):
    """Runs the container of a Job's only pod as a process of this machine."""

    folder: Path = Path()
    process: subprocess.Popen[bytes] | None = None

    def answer(self, request: Request) -> tuple[int, Any]:
        answer = super().answer(request)
        if request.method == "POST" and request.path.endswith("/jobs"):
            assert request.body is not None
            assert request.body["spec"]["completions"] == 1
            (container,) = request.body["spec"]["template"]["spec"]["containers"]
            given = {item["name"]: item["value"] for item in container["env"] if "value" in item}
            with open(self.folder / "worker.log", "wb") as log:
                self.process = subprocess.Popen(
                    container["command"],
                    env={**os.environ, **quick_environment(), **given, "JOB_COMPLETION_INDEX": "0"},
                    cwd=REPOSITORY,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            self.script = [[RUNNING]]
        if self.process is not None and self.process.poll():
            self.script = [[FAILED]]
        return answer


# A Trainer in a pod: what Kubernetes puts into it, and its cluster's names as this machine knows them.
IN_A_POD = f"""
{INLINE_INGEST}
import sys
from pathlib import Path
import kubernetes.config
from components.trainer.cluster.pods import api, manifest, pods
from components.trainer.cluster.pods.config import WorkerPodsConfig, request_workers
host, folder, *addresses = sys.argv[1].split(",")
def load(client_configuration):
    client_configuration.host = host
    client_configuration.api_key["authorization"] = "Bearer the-service-accounts"
kubernetes.config.load_incluster_config = load
api._SERVICE_ACCOUNT = Path(folder)
pods.cluster_addresses = manifest.cluster_addresses = lambda pod, config: addresses
request_workers(WorkerPodsConfig(replicas=2, startup_timeout_secs=240))
sys.argv[1:2] = []
from pipeline.commands.main import main
main()
"""


def test_a_trainer_starts_its_worker_pod_and_trains_with_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "namespace").write_text("kubeflow")
    root = folder / "root"
    # What a chief that was killed has left.
    root.mkdir(exist_ok=True)
    (root / "cluster.json").write_text('{"id": "1", "job": {}}', encoding="utf-8")
    kubelet = Kubelet(folder=tmp_path)
    addresses = [f"localhost:{port}" for port in free_ports(2)]
    with serving(kubelet) as host:
        place = ",".join([host, str(tmp_path), *addresses])
        settings = [
            "training.strategy=multi_worker",
            "training.epochs=3",
            "evaluation={thresholds: {accuracy: 0.5}, max_regression: {}}",
        ]
        chief = subprocess.run(
            [quick_python(), "-c", IN_A_POD, place, "run", "digits", "--root", root, "--json"]
            + [argument for setting in settings for argument in ("--set", setting)],
            env={
                **{name: value for name, value in os.environ.items() if name != "TF_CONFIG"},
                **quick_environment(),
                "KFP_POD_NAME": kubelet.pod["metadata"]["name"],
                "PYTHONPATH": str(REPOSITORY),
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert kubelet.process is not None
    worker_code = kubelet.process.wait(timeout=60)
    said = (tmp_path / "worker.log").read_text(encoding="utf-8")
    assert chief.returncode == 0, chief.stderr[-3000:] + said[-3000:]
    assert worker_code == 0, said[-3000:]
    assert "worker pods: all run, after" in unwrap(chief.stderr)
    assert "multi_worker, 2 CPUs on 2 machines" in unwrap(chief.stderr)
    assert json.loads(chief.stdout.splitlines()[-1])["metrics"]["accuracy"] > 0.8
    assert (kubelet.jobs, kubelet.services) == ({}, {})
    assert [item["kind"] for item in kubelet.made] == ["Service", "Job"]


def test_a_worker_pod_whose_chief_does_not_come_gives_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [quick_mirante(), "worker", str(tmp_path)],
        env={
            **os.environ,
            "MIRANTE_CLUSTER": json.dumps(["localhost:1", "localhost:2"]),
            "MIRANTE_CLUSTER_WAIT_SECS": "1",
            "JOB_COMPLETION_INDEX": "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "mirante: the chief has not begun to train within 1 s: there is no " in done.stderr
