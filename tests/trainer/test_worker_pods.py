"""Worker pods: manifests, their place in the cluster, what becomes of them, by a stand-in for Kubernetes."""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from components.base.errors import MiranteError, UsageError
from components.trainer.cluster.pods import api as kubernetes
from components.trainer.cluster.pods import pods
from components.trainer.cluster.pods.config import WorkerPodsConfig, request_workers, requested_workers
from components.trainer.cluster.pods.environment import tf_config, worker_place
from components.trainer.cluster.pods.manifest import cluster_addresses, worker_job, worker_service
from tests.certificates import make_certificate, make_strict
from tests.kfp_api import serving
from tests.kubernetes_api import FAILED, GOLDEN, RUNNING, UNSCHEDULABLE, KubernetesApi, trainer_pod

ROOT = Path(__file__).resolve().parents[2]
CONFIG = WorkerPodsConfig(replicas=3)
NAME = "mirante-workers-1f0c2d3e"
ADDRESSES = ["10.8.2.17:2222", f"{NAME}-0.{NAME}.kubeflow.svc:2222", f"{NAME}-1.{NAME}.kubeflow.svc:2222"]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[KubernetesApi]:
    """A pod in a cluster, this process."""
    from kubernetes import config

    state = KubernetesApi()
    (tmp_path / "namespace").write_text("kubeflow")
    monkeypatch.setattr(kubernetes, "_SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setattr(pods, "_POLL_SECS", 0.0)
    monkeypatch.setenv("KFP_POD_NAME", state.pod["metadata"]["name"])
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with serving(state) as host:

        def load(client_configuration: Any) -> None:
            client_configuration.host = host
            client_configuration.api_key["authorization"] = "Bearer the-service-accounts"
            client_configuration.retries = False

        monkeypatch.setattr(config, "load_incluster_config", load)
        yield state


def start(config: WorkerPodsConfig = CONFIG) -> None:
    with pods.worker_pods(config, "/mirante/digits"):
        pass


def test_the_manifests_are_the_golden_ones() -> None:
    command = ["/opt/venv/bin/python", "-m", "pipeline.commands", "worker", "/mirante/digits"]
    made = [worker_service(trainer_pod(), CONFIG), worker_job(trainer_pod(), CONFIG, command)]
    path = GOLDEN / "worker_job.yaml"
    if os.environ.get("MIRANTE_WRITE_GOLDEN") == "1":
        head = path.read_text(encoding="utf-8").splitlines()[0]
        path.write_text(f"{head}\n{yaml.safe_dump_all(made, sort_keys=False)}", encoding="utf-8")
    assert list(yaml.safe_load_all(path.read_text(encoding="utf-8"))) == made
    # What an operator would look for in it.
    job = made[1]
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (2, 2)
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert [volume["name"] for volume in spec["volumes"]] == ["mirante-root", "dshm"]
    assert [mount["name"] for mount in container["volumeMounts"]] == ["mirante-root", "dshm"]
    assert [variable["name"] for variable in container["env"]][:2] == ["NCCL_DEBUG", "WANDB_API_KEY"]
    assert "nodeName" not in spec
    assert all("uid" in owner for owner in job["metadata"]["ownerReferences"])


def test_the_addresses_are_the_chiefs_ip_and_the_workers_names() -> None:
    assert cluster_addresses(trainer_pod(), CONFIG) == ADDRESSES
    pod = trainer_pod()
    pod["status"]["podIP"] = "fd00::1"
    assert cluster_addresses(pod, CONFIG)[0] == "[fd00::1]:2222"
    # Kubernetes: at most 63 characters for the name of a host, and of a Service.
    assert len(f"{NAME}-9999") <= 63


def test_a_worker_gets_its_place_from_what_the_job_says() -> None:
    job = worker_job(trainer_pod(), CONFIG, ["worker"])
    (container,) = job["spec"]["template"]["spec"]["containers"]
    given = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    place = worker_place({**given, "JOB_COMPLETION_INDEX": "1"})
    assert place is not None
    assert json.loads(place[0]) == {
        "cluster": {"worker": ADDRESSES},
        "task": {"type": "worker", "index": 2},
    }
    # The last of them may come after 900 s, and the chief needs a moment.
    assert place[1] == 960
    assert json.loads(tf_config(ADDRESSES, 0))["task"] == {"type": "worker", "index": 0}
    assert worker_place({}) is None
    with pytest.raises(UsageError, match="JOB_COMPLETION_INDEX is not set"):
        worker_place(given)
    with pytest.raises(UsageError, match="there is no worker 2"):
        worker_place({**given, "JOB_COMPLETION_INDEX": "2"})
    with pytest.raises(UsageError, match="no worker pod"):
        worker_place({**given, "JOB_COMPLETION_INDEX": "0", "MIRANTE_CLUSTER": "{"})


def test_a_request_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRANTE_WORKER_PODS", "")
    assert requested_workers() is None
    request_workers(CONFIG)
    assert requested_workers() == CONFIG
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        WorkerPodsConfig(replicas=1)


def test_pods_are_there_while_it_trains_and_gone_afterwards(
    cluster: KubernetesApi, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.script = [[], [UNSCHEDULABLE], [RUNNING, UNSCHEDULABLE], [RUNNING, RUNNING]]
    with caplog.at_level(logging.INFO, "mirante.trainer"), pods.worker_pods(CONFIG, "/mirante/digits"):
        assert json.loads(os.environ["TF_CONFIG"]) == {
            "cluster": {"worker": ADDRESSES},
            "task": {"type": "worker", "index": 0},
        }
        (job,), (service,) = cluster.jobs.values(), cluster.services.values()
        assert cluster.script == [[RUNNING, RUNNING]]
    assert "TF_CONFIG" not in os.environ
    assert (cluster.jobs, cluster.services) == ({}, {})
    assert any(f"DELETE /apis/batch/v1/namespaces/kubeflow/jobs/{NAME}" in line for line in cluster.requests)
    assert any("jobs" in line and "propagationPolicy=Background" in line for line in cluster.requests)
    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[1:] == ["-m", "pipeline.commands", "worker", "/mirante/digits"]
    assert service["spec"]["selector"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert "worker pods: 1 of 2 run; worker 1: Unschedulable: 0/3 nodes are available" in caplog.text


@pytest.mark.parametrize("error", [MiranteError("lost"), KeyboardInterrupt(), RuntimeError("bug")])
def test_pods_go_whatever_happens(
    cluster: KubernetesApi, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", "former")
    with pytest.raises(type(error)), pods.worker_pods(CONFIG, "/mirante/digits"):
        raise error
    assert (cluster.jobs, cluster.services) == ({}, {})
    assert os.environ["TF_CONFIG"] == "former"


def test_an_authority_without_key_usage_is_accepted_and_another_is_not(
    cluster: KubernetesApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.13 checks strictly by default; here older ones are made to."""
    from kubernetes import config

    make_certificate(tmp_path, "server", make_certificate(tmp_path, "ca"))
    make_certificate(tmp_path, "other")
    make_strict(monkeypatch)
    with serving(cluster, tmp_path / "server") as host:

        def load(client_configuration: Any, authority: str) -> None:
            client_configuration.host = host
            client_configuration.ssl_ca_cert = str(tmp_path / f"{authority}.crt")
            client_configuration.api_key["authorization"] = "Bearer the-service-accounts"
            client_configuration.retries = False

        monkeypatch.setattr(config, "load_incluster_config", functools.partial(load, authority="ca"))
        assert kubernetes.Kubernetes().own_pod()["metadata"]["name"] == cluster.pod["metadata"]["name"]
        monkeypatch.setattr(config, "load_incluster_config", functools.partial(load, authority="other"))
        with pytest.raises(MiranteError, match=r"not signed by the authority .*ca\.crt\): [\w -]+; ask"):
            kubernetes.Kubernetes().own_pod()


def test_a_worker_that_failed_is_heard_before_it_is_removed(
    cluster: KubernetesApi, caplog: pytest.LogCaptureFixture
) -> None:

    def train() -> None:
        cluster.script = [[RUNNING, FAILED]]
        raise MiranteError("another process was lost")

    with pytest.raises(MiranteError, match="another process"), pods.worker_pods(CONFIG, "/mirante/digits"):
        train()
    assert "worker 1: Error, exit code 1; the end of its log:" in caplog.text
    assert f"{NAME}-1-x7k2p: the last line" in caplog.text
    assert cluster.jobs == {}


def test_a_worker_that_ends_before_it_begins(cluster: KubernetesApi) -> None:
    cluster.script = [[RUNNING, UNSCHEDULABLE], [RUNNING, FAILED]]
    with pytest.raises(MiranteError, match="worker 1 ended before training began: Error, exit code 1"):
        start()
    assert cluster.jobs == {}


def test_pods_that_do_not_come_up_in_time(cluster: KubernetesApi) -> None:
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}
    pulling = {"phase": "Pending", "containerStatuses": [{"name": "main", **waiting}]}
    config = WorkerPodsConfig.model_construct(replicas=4, port=2222, startup_timeout_secs=0)
    cluster.script = [[UNSCHEDULABLE, pulling]]
    with pytest.raises(MiranteError) as raised:
        start(config)
    said = str(raised.value)
    assert "0 of 3 worker pods run after 0 s (kubeflow.workers.startup_timeout_secs)" in said
    assert "worker 0: Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu." in said
    assert "worker 1: ImagePullBackOff, Back-off pulling image" in said
    assert f"2 of 3 are made (see the events of Job {NAME})" in said
    assert cluster.jobs == {}


@pytest.mark.parametrize("done", ["create jobs", "create services", "get pods", "list pods"])
def test_what_is_forbidden_is_told_with_the_role(cluster: KubernetesApi, done: str) -> None:
    cluster.forbidden = (done,)
    verb, resource = done.split()
    with pytest.raises(MiranteError) as raised:
        start()
    assert f"the Trainer's service account may not {verb} {resource} in namespace kubeflow" in str(
        raised.value
    )
    assert "system:serviceaccount:kubeflow:pipeline-runner" in str(raised.value)
    assert "kubectl apply -f kubeflow/manifests/worker-rbac.yaml" in str(raised.value)
    assert (cluster.jobs, cluster.services) == ({}, {})


def test_what_cannot_be_removed_is_told_and_hides_nothing(
    cluster: KubernetesApi, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.forbidden = ("delete jobs",)
    with pytest.raises(MiranteError, match="lost"), pods.worker_pods(CONFIG, "/mirante/digits"):
        raise MiranteError("lost")
    assert f"the Job and the Service {NAME} could not be removed" in caplog.text
    assert (list(cluster.jobs), list(cluster.services)) == ([NAME], [])


def test_an_api_that_is_away_for_a_while_is_waited_for(cluster: KubernetesApi) -> None:
    cluster.script = [[RUNNING, UNSCHEDULABLE], [RUNNING, RUNNING]]
    before = pods.Kubernetes.create_job

    def create_then_down(self: Any, job: dict[str, Any]) -> None:
        before(self, job)
        cluster.down = 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pods.Kubernetes, "create_job", create_then_down)
        start()
    assert cluster.down == 0


def test_outside_of_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(MiranteError, match="only a Trainer that is a pod itself"):
        start()


def test_the_role_lets_a_trainer_do_what_it_does(cluster: KubernetesApi) -> None:
    path = ROOT / kubernetes.ROLE
    role, binding = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    may = {
        (verb, resource) for rule in role["rules"] for verb in rule["verbs"] for resource in rule["resources"]
    }
    needed = set()
    asked = kubernetes.Kubernetes._call

    def ask(self: Any, verb: str, resource: str, *args: Any, **kwargs: Any) -> Any:
        needed.add((verb, resource))
        return asked(self, verb, resource, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kubernetes.Kubernetes, "_call", ask)
        cluster.script = [[RUNNING, FAILED]]
        with pytest.raises(MiranteError):
            start()
    assert needed == may
    assert binding["roleRef"]["name"] == role["metadata"]["name"] == "mirante-workers"
