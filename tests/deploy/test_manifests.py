"""Manifests in deploy/: Kubernetes knows every field, equal settings are equal, and nothing runs as root."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes.client
import pytest
import yaml

from tests.house.test_layout import LOCKS, locked_versions

pytestmark = pytest.mark.stack_free

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
# Kubernetes' own kinds, and the client's classes for them.
KINDS = {
    "Namespace": "V1Namespace",
    "ServiceAccount": "V1ServiceAccount",
    "ConfigMap": "V1ConfigMap",
    "PersistentVolumeClaim": "V1PersistentVolumeClaim",
    "Deployment": "V1Deployment",
    "Service": "V1Service",
    "HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
}


def read_objects() -> list[dict[str, Any]]:
    """Return all objects of deploy/kubernetes, in the order of kustomization.yaml."""
    folder = DEPLOY / "kubernetes"
    resources = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert sorted(resources) == sorted(
        path.name for path in folder.glob("*.yaml") if path.name != "kustomization.yaml"
    )
    return [each for name in resources for each in yaml.safe_load_all((folder / name).read_text())]


def find_unknown(value: Any, kind: str, at: str) -> Iterator[str]:
    """Yield the fields that the published API does not have."""
    if match := re.fullmatch(r"(list\[|dict\(str, )(.*)[\])]", kind):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from find_unknown(item, match[2], f"{at}.{key}")
        return
    model = getattr(kubernetes.client, kind, None)
    if model is None:
        return
    names = {name: field for field, name in model.attribute_map.items()}
    for key, item in value.items():
        if key not in names:
            yield f"{at}.{key}"
        else:
            yield from find_unknown(item, model.openapi_types[names[key]], f"{at}.{key}")


def find_one(kind: str) -> dict[str, Any]:
    return next(each for each in read_objects() if each["kind"] == kind)


def test_kubernetes_knows_every_field() -> None:
    for each in read_objects():
        assert list(find_unknown(each, KINDS[each["kind"]], each["kind"])) == []
    assert list(find_unknown({"spec": {"replica": 1}}, "V1Deployment", "d")) == ["d.spec.replica"]


def test_a_replica_runs_without_rights_and_is_not_asked_before_it_is_ready() -> None:
    pod = find_one("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    (model,) = (each["value"] for each in container["env"] if each["name"] == "MODEL_NAME")
    assert container["readinessProbe"]["httpGet"]["path"] == f"/v1/models/{model}"
    assert f"/models/{model}" in {each["mountPath"] for each in container["volumeMounts"]}
    wait = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > wait + 30


def test_selectors_find_the_pods() -> None:
    labels = find_one("Deployment")["spec"]["template"]["metadata"]["labels"]
    for each in read_objects():
        selector = each["spec"].get("selector", {}) if "spec" in each else {}
        assert selector.get("matchLabels", selector).items() <= labels.items()
    target = find_one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", find_one("Deployment")["metadata"]["name"])


def test_compose_and_kubernetes_start_the_same_server() -> None:
    (container,) = find_one("Deployment")["spec"]["template"]["spec"]["containers"]
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["tf-serving"]
    assert service["command"] == container["args"]
    assert service["image"] == container["image"]
    assert service["user"].partition(":")[0] != "0"
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    config = find_one("ConfigMap")["data"]
    assert config == {path.name: path.read_text() for path in (DEPLOY / "tf-serving").iterdir()}
    # The image is of the version whose stubs the newer stack has.
    assert {
        f"tensorflow/serving:{version}" for version in locked_versions(LOCKS[1], "tensorflow-serving-api")
    } == {service["image"]}


def test_kserve_gets_a_folder_of_versions() -> None:
    service = yaml.safe_load((DEPLOY / "kserve" / "inferenceservice.yaml").read_text())
    predictor = service["spec"]["predictor"]
    assert predictor["model"]["modelFormat"] == {"name": "tensorflow"}
    assert predictor["securityContext"]["runAsNonRoot"] is True


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "systemd" / "mirante-serve.service").read_text()
    unit = tmp_path / "mirante-serve.service"
    unit.write_text(text.replace("/opt/mirante/.venv/bin/mirante", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
