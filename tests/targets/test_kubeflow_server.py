"""Compiled packages on Kubeflow Pipelines' own API server: no stand-in.

`up.sh l1` in the folder that MIRANTE_KFP_CLUSTER names starts it on this machine, with a Kubernetes API and a
database and without pods; `kfp_check` next to that folder is its validation and its compiler as one program.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("kfp", reason="kfp is not on Python 3.10")

from pipeline.recipe.load import recipe_names
from tests.make.commands import mirante

pytestmark = pytest.mark.kubeflow

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = Path(os.environ.get("MIRANTE_KFP_CLUSTER") or ROOT.parent / "shared" / "kfp_cluster")
EVERYTHING = "tests/golden/cluster.yaml"
IMAGE = "registry.example.org/mirante:0.1.0"
START_SECS = 300


@dataclasses.dataclass(frozen=True)
class Server:
    """The API server.

    Attributes:
        host: Its address.
        environment: What `up.sh` needs to find it again.
    """

    host: str
    environment: dict[str, str]

    def kubectl(self, *arguments: str) -> str:
        return up(self.environment, "kubectl", "-n", "kubeflow", *arguments)

    def submit(self, package: Path, *options: str, code: int = 0) -> dict[str, Any]:
        """Return the result as JSON, with the message as `error`."""
        done = mirante("submit", str(package), "--host", self.host, "--json", *options, cwd=ROOT)
        assert done.returncode == code, done.stderr
        result = json.loads(done.stdout) if done.stdout else {"error": done.stderr}
        return dict(result)


def up(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [str(CLUSTER / "up.sh"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECS,
    )
    assert done.returncode == 0, f"up.sh {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not (CLUSTER / "up.sh").is_file():
        pytest.fail(
            f"no Kubeflow Pipelines to start: {CLUSTER} has no up.sh; set MIRANTE_KFP_CLUSTER to its folder"
        )
    environment = {**os.environ, "T": str(tmp_path_factory.mktemp("kfp")), "MIRANTE": str(ROOT)}
    environment["PYTHON"] = sys.executable
    try:
        up(environment, "l1")
        yield Server(up(environment, "host").strip(), environment)
    finally:
        up(environment, "wipe")


@pytest.fixture(scope="session")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("check") / "kfp_check"
    packed = CLUSTER.with_name("kfp_check") / "kfp_check.gz"
    with gzip.open(packed) as source, program.open("wb") as target:
        shutil.copyfileobj(source, target)
    program.chmod(0o755)
    return program


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The package of every built-in recipe, and of the one with everything in it, by the recipe."""
    folder = tmp_path_factory.mktemp("packages")
    found = {}
    for recipe in (*recipe_names(), EVERYTHING):
        package = found[recipe] = folder / f"{Path(recipe).stem}.yaml"
        done = mirante("compile", recipe, "--image", IMAGE, "-o", str(package), cwd=ROOT)
        assert done.returncode == 0, done.stderr
    return found


@pytest.fixture(scope="session")
def digits(packages: dict[str, Path]) -> Path:
    return packages["digits"]


def test_kubeflow_compiles_every_package(packages: dict[str, Path], checker: Path) -> None:
    command = [str(checker), *map(str, packages.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert len(done.stdout.splitlines()) == len(packages)
    assert all(": accepted, " in line for line in done.stdout.splitlines())


@pytest.fixture(scope="session")
def workflow(packages: dict[str, Path], checker: Path) -> dict[str, Any]:
    """The workflow that Kubeflow's compiler makes of the package with everything in it."""
    package = packages[EVERYTHING]
    subprocess.run([str(checker), str(package)], check=True, capture_output=True)
    read: dict[str, Any] = json.loads(package.with_name(f"{package.name}.workflow.json").read_text())
    return read


def find_settings(workflow: dict[str, Any], task: str) -> dict[str, Any]:
    """Return what kfp-kubernetes asks for a task."""
    found: list[str] = [
        parameter["value"]
        for parameter in workflow["spec"]["arguments"]["parameters"]
        if parameter["name"] == f"kubernetes-comp-{task}"
    ]
    return dict(json.loads(found[0]))


def find_container(workflow: dict[str, Any], task: str) -> dict[str, Any]:
    """Return the container of a task."""
    parameters = {item["name"]: item["value"] for item in workflow["spec"]["arguments"]["parameters"]}
    (key,) = [
        name
        for name, value in parameters.items()
        if name.startswith("components-") and json.loads(value).get("executorLabel") == f"exec-{task}"
    ]
    return dict(json.loads(parameters[key.replace("components-", "implementations-")]))


def find_retries(workflow: dict[str, Any], task: str) -> dict[str, Any]:
    """Return the retries that a task makes itself."""
    (found,) = [
        one["value"] for one in find_container(workflow, task)["env"] if one["name"] == "MIRANTE_RETRIES"
    ]
    return dict(json.loads(found))


def test_the_workflow_has_volumes_secrets_and_deadlines(workflow: dict[str, Any]) -> None:
    ingest, trainer = find_settings(workflow, "ingest"), find_settings(workflow, "trainer")
    for settings in (ingest, trainer):
        assert [(mount["constant"], mount["mountPath"]) for mount in settings["pvcMount"]] == [
            ("pipelines", "/pipelines"),
            ("photos", "/photos"),
            ("models", "/models"),
        ]
        secrets = {
            (one["secretName"], key["secretKey"]): key["envVar"]
            for one in settings["secretAsEnv"]
            for key in one["keyToEnv"]
        }
        assert secrets["mysql-secret", "username"] == "MIRANTE_METADATA_USER"
        assert secrets["mysql-secret", "password"] == "MIRANTE_METADATA_PASSWORD"
        assert (("wandb", "api-key") in secrets) is (settings is trainer)
    assert (ingest["activeDeadlineSeconds"], trainer["activeDeadlineSeconds"]) == ("7200", "86400")
    assert "activeDeadlineSeconds" not in find_settings(workflow, "pusher")


def test_the_workflow_has_accelerators_and_where_they_are(workflow: dict[str, Any]) -> None:
    settings, resources = find_settings(workflow, "trainer"), find_container(workflow, "trainer")["resources"]
    assert settings["nodeSelector"]["labels"] == {"cloud.google.com/gke-accelerator": "nvidia-tesla-t4"}
    (toleration,) = settings["tolerations"]
    assert (toleration["key"], toleration["operator"], toleration["effect"]) == (
        "nvidia.com/gpu",
        "Exists",
        "NoSchedule",
    )
    assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert resources["accelerator"]["resourceCount"] == "4"
    assert (resources["resourceCpuLimit"], resources["resourceMemoryLimit"]) == ("8", "32Gi")
    tuner = find_settings(workflow, "tuner")["nodeSelector"]["labels"]
    assert tuner["cloud.google.com/gke-tpu-topology"] == "2x2"
    assert tuner["cloud.google.com/gke-tpu-accelerator"] == "tpu-v5-lite-podslice"


def test_the_workflow_retries_as_often_as_the_recipe_says(workflow: dict[str, Any]) -> None:
    expected = {"backoff_secs": 60, "backoff_factor": 2.0, "backoff_max_secs": 3600}
    for task, retries in (("ingest", 2), ("trainer", 5), ("pusher", 2)):
        assert find_retries(workflow, task) == {"retries": retries, **expected}
    # Argo's own would multiply them, over nested templates.
    assert not [template["name"] for template in workflow["spec"]["templates"] if "retryStrategy" in template]


def test_every_package_is_uploaded_and_gets_a_run(server: Server, packages: dict[str, Path]) -> None:
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


def test_a_changed_package_is_a_new_version(server: Server, digits: Path, tmp_path: Path) -> None:
    first = server.submit(digits, "--no-follow")
    changed = tmp_path / "digits.yaml"
    done = mirante(
        *("compile", "digits", "--image", IMAGE, "--set", "training.epochs=2", "-o", str(changed)), cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    second = server.submit(changed, "--no-follow")
    assert second["pipeline_id"] == first["pipeline_id"]
    assert second["version_id"] != first["version_id"]


def test_a_schedule_is_made_once_and_replaced_if_asked(server: Server, digits: Path) -> None:
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


def test_wrong_parameters_are_refused_before_anything_is_uploaded(server: Server, digits: Path) -> None:
    for given, said in (
        ("epochs=many", "expected a whole number"),
        ("nope=1", "has no parameter 'nope'"),
    ):
        refused = server.submit(digits, "--name", "wrong", "--param", given, "--no-follow", code=2)
        assert said in refused["error"]
        assert refused.get("pipeline_id") is None


def test_what_is_no_pipeline_is_refused_by_the_server_in_its_words(
    server: Server, digits: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.yaml"
    # The Trainer depends on a task that is not there.
    text = digits.read_text(encoding="utf-8")
    broken.write_text(
        text.replace("        - datagate\n", "        - nothing-of-this-name\n"), encoding="utf-8"
    )
    refused = server.submit(broken, "--name", "broken", "--no-follow", code=1)
    assert "nothing-of-this-name" in refused["error"]


def test_a_server_that_is_not_there(digits: Path) -> None:
    refused = Server("http://127.0.0.1:1", {}).submit(digits, "--no-follow", code=1)
    assert "http://127.0.0.1:1 cannot be reached" in refused["error"]
