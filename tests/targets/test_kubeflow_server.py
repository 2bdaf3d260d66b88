"""Compiled packages on Kubeflow Pipelines' own API server: no stand-in.

`up.sh l1` in the folder that MIRANTE_KFP_CLUSTER names starts it on this machine, with a Kubernetes API and a
database and without pods.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

pytest.importorskip("kfp", reason="kfp is not on Python 3.10")

from pipeline.recipe.load import recipe_names
from tests.kfp_check import ROOT, check_packages
from tests.kfp_cluster import Cluster, running
from tests.make.commands import mirante

pytestmark = pytest.mark.kubeflow

EVERYTHING = "tests/golden/cluster.yaml"
IMAGE = "registry.example.org/mirante:0.1.0"


@pytest.fixture(scope="session")
def server() -> Iterator[Cluster]:
    with running(["l1"]) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The package of every built-in recipe, and of the one with everything in it, by the recipe."""
    folder = tmp_path_factory.mktemp("packages")
    found = {}
    for recipe in (*recipe_names(), EVERYTHING):
        package = found[recipe] = folder / f"{Path(recipe).stem}.yaml"
        done = mirante("compile", recipe, "--image", IMAGE, "-o", str(package), cwd=ROOT)
        assert done.returncode == 0, done.stderr
    check_packages(*found.values())
    return found


@pytest.fixture(scope="session")
def digits(packages: dict[str, Path]) -> Path:
    return packages["digits"]


def test_the_pods_that_are_ours_pass_the_strictest_pod_security(server: Cluster, tmp_path: Path) -> None:
    server.kubectl("create", "namespace", "strict")
    server.kubectl("label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted")
    for account in ("default", "trainer"):  # no controller makes them here
        server.kubectl("create", "serviceaccount", account, "-n", "strict")
    job = list(yaml.safe_load_all((ROOT / "tests/golden/worker_job.yaml").read_text()))[1]
    template = job["spec"]["template"]
    template["metadata"] = {**template["metadata"], "name": "worker"}
    template["spec"]["serviceAccountName"] = "trainer"
    worker = tmp_path / "worker.yaml"
    worker.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", **template}))
    dry = ("-n", "strict", "create", "--dry-run=server", "-f")
    assert "pod/mirante-data created" in server.kubectl(*dry, str(ROOT / "kubeflow/manifests/volume.yaml"))
    assert "pod/worker created" in server.kubectl(*dry, str(worker))
    template["spec"]["containers"][0]["securityContext"] = {}
    worker.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", **template}))
    with pytest.raises(AssertionError, match='violates PodSecurity "restricted'):
        server.kubectl(*dry, str(worker))
    server.kubectl("delete", "namespace", "strict", "--wait=false")


def test_users_may_do_what_the_docs_ask_of_them_and_no_more(server: Cluster) -> None:
    def rights() -> set[tuple[str, ...]]:
        rows = server.kubectl("--as=alice", "auth", "can-i", "--list", "--no-headers").splitlines()
        return {tuple(row.split()) for row in rows}

    before = rights()
    server.kubectl("apply", "-f", str(ROOT / "kubeflow/manifests/user-rbac.yaml"))
    assert rights() - before == {
        ("services", "[]", "[ml-pipeline-ui]", "[get]"),  # kubectl port-forward svc/ml-pipeline-ui
        ("services", "[]", "[ml-pipeline]", "[get]"),
        ("pods/portforward", "[]", "[]", "[create]"),
        ("pods", "[]", "[]", "[get", "list", "watch]"),  # kubectl wait
        ("pods/log", "[]", "[]", "[get]"),
        ("pods/exec", "[]", "[mirante-data]", "[create]"),  # kubectl exec and cp
        ("workflows.argoproj.io", "[]", "[]", "[get", "list]"),  # the command that `mirante submit` prints
    }


def test_every_package_is_uploaded_and_gets_a_run(server: Cluster, packages: dict[str, Path]) -> None:
    for recipe, package in packages.items():
        result = server.submit(package, "--no-follow", "--param", "pipeline_root=/pipelines/root")
        assert not result["version_reused"], recipe
        labels = f"pipeline/runid={result['run_id']}"
        (workflow,) = json.loads(server.kubectl("get", "workflows", "-l", labels, "-o", "json"))["items"]
        account = "trainer" if recipe == EVERYTHING else "pipeline-runner"
        assert workflow["spec"]["serviceAccountName"] == account
        again = server.submit(package, "--no-follow")
        assert again["version_reused"], recipe
        assert again["version_id"] == result["version_id"]
        assert again["run_id"] != result["run_id"]


def test_a_changed_package_is_a_new_version(server: Cluster, digits: Path, tmp_path: Path) -> None:
    first = server.submit(digits, "--no-follow")
    changed = tmp_path / "digits.yaml"
    done = mirante(
        *("compile", "digits", "--image", IMAGE, "--set", "training.epochs=2", "-o", str(changed)), cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    check_packages(changed)
    second = server.submit(changed, "--no-follow")
    assert second["pipeline_id"] == first["pipeline_id"]
    assert second["version_id"] != first["version_id"]


def test_a_schedule_is_made_once_and_replaced_if_asked(server: Cluster, digits: Path) -> None:
    name = ("--name", "nightly", "--run-name", "nightly digits")
    first = server.submit(digits, *name, "--cron", "0 3 * * *")
    same = server.submit(digits, *name, "--cron", "0 3 * * *")
    assert same["recurring_run_id"] == first["recurring_run_id"]
    refused = server.submit(digits, *name, "--cron", "0 4 * * *", code=2)
    assert "--replace it, or give another --run-name" in refused["error"]
    replaced = server.submit(digits, *name, "--cron", "0 4 * * *", "--replace")
    assert replaced["recurring_run_id"] != first["recurring_run_id"]
    schedules = json.loads(server.kubectl("get", "scheduledworkflows", "-o", "json"))["items"]
    crons = [one["spec"]["trigger"]["cronSchedule"]["cron"] for one in schedules]
    assert crons == ["0 0 4 * * *"]


def test_wrong_parameters_are_refused_before_anything_is_uploaded(server: Cluster, digits: Path) -> None:
    for given, said in (
        ("epochs=many", "expected a whole number"),
        ("nope=1", "has no parameter 'nope'"),
    ):
        refused = server.submit(digits, "--name", "wrong", "--param", given, "--no-follow", code=2)
        assert said in refused["error"]
        assert refused.get("pipeline_id") is None


def test_what_is_no_pipeline_is_refused_by_the_server_in_its_words(
    server: Cluster, digits: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.yaml"
    # The group for a model that is not pushed depends on a task that is not there.
    text = digits.read_text(encoding="utf-8")
    assert text.count("        - ingest-to-pusher\n") == 1
    broken.write_text(
        text.replace("        - ingest-to-pusher\n", "        - nothing-of-this-name\n"), encoding="utf-8"
    )
    refused = server.submit(broken, "--name", "broken", "--no-follow", code=1)
    assert "nothing-of-this-name" in refused["error"]


def test_a_server_that_is_not_there(digits: Path) -> None:
    refused = Cluster({}, "http://127.0.0.1:1").submit(digits, "--no-follow", code=1)
    assert "http://127.0.0.1:1 cannot be reached" in refused["error"]
