"""The Argo workflow that Kubeflow's own compiler makes of the package with everything in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("kfp", reason="kfp is not on Python 3.10")

from tests.kfp_check import ROOT, check_packages
from tests.make.commands import mirante

IMAGE = "registry.example.org/mirante:0.1.0"


@pytest.fixture(scope="module")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The workflow of tests/golden/cluster.yaml with one task per node."""
    package = tmp_path_factory.mktemp("workflow") / "package.yaml"
    done = mirante(
        *("compile", "tests/golden/cluster.yaml", "--image", IMAGE, "-o", str(package)),
        *("--set", "kubeflow.together=[]"),
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    workflows = check_packages(package)
    return workflows[0] if workflows else pytest.skip("kfp_check is not available here")


def find_parameters(workflow: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in workflow["spec"]["arguments"]["parameters"]}


def find_settings(workflow: dict[str, Any], task: str) -> dict[str, Any]:
    """Return what kfp-kubernetes asks for a task."""
    return dict(json.loads(find_parameters(workflow)[f"kubernetes-comp-{task}"]))


def find_container(workflow: dict[str, Any], task: str) -> dict[str, Any]:
    """Return the container of a task."""
    parameters = find_parameters(workflow)
    (key,) = [
        name
        for name, value in parameters.items()
        if name.startswith("components-") and json.loads(value).get("executorLabel") == f"exec-{task}"
    ]
    return dict(json.loads(parameters[key.replace("components-", "implementations-")]))


def find_task(workflow: dict[str, Any], task: str) -> dict[str, Any]:
    """Return a task of Argo's graph."""
    (root,) = [template for template in workflow["spec"]["templates"] if template["name"] == "root"]
    return dict(next(item for item in root["dag"]["tasks"] if item["name"] == task))


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


def test_argo_starts_a_task_when_what_it_reads_is_there(workflow: dict[str, Any]) -> None:
    """The driver of a task depends on the tasks before it; tasks that share no data run at the same time."""
    depends = {
        task: set(
            find_task(workflow, f"{task}-driver").get("depends", "").replace(".Succeeded", "").split(" && ")
        )
        for task in ("importexamplegen", "importschemagen", "statisticsgen", "evaluator", "pusher")
    }
    assert depends["importexamplegen"] == depends["importschemagen"] == {"ingest"}
    assert depends["statisticsgen"] == {"importexamplegen", "importschemagen"}
    assert depends["evaluator"] == {"importexamplegen", "trainer", "resolver"}
    assert depends["pusher"] == {"trainer", "infravalidator", "evaluator"}
