"""Manifests in deploy/: published schemas take them, equal settings are equal, and nothing runs as root."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes_validate
import pytest
import yaml

from tests.deploy.kserve_fields import FILE
from tests.house.test_layout import LOCKS, locked_versions

pytestmark = pytest.mark.stack_free

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
# By KServe's own package (`tests.deploy.kserve_fields`); its other types are Kubernetes' own.
KSERVE: dict[str, dict[str, str]] = json.loads(FILE.read_text(encoding="utf-8"))["classes"]
SCALARS: dict[str, type] = {"str": str, "int": int, "bool": bool}
# The oldest Kubernetes that the manifests are for.
KUBERNETES = "1.34"


def read_objects() -> list[dict[str, Any]]:
    """Return all objects of deploy/kubernetes, in the order of kustomization.yaml."""
    folder = DEPLOY / "kubernetes"
    resources = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert sorted(resources) == sorted(
        path.name for path in folder.glob("*.yaml") if path.name != "kustomization.yaml"
    )
    return [each for name in resources for each in yaml.safe_load_all((folder / name).read_text())]


def find_problems(value: Any, kind: str, at: str) -> Iterator[str]:
    """Yield the fields that an object of KServe does not have, and values of another type."""
    if match := re.fullmatch(r"(list\[|dict\(str, )(.*)[\])]", kind):
        if not isinstance(value, list if match[1] == "list[" else dict):
            yield f"{at}: expected {kind}"
            return
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from find_problems(item, match[2], f"{at}.{key}")
        return
    types = KSERVE.get(kind)
    if types is None and (model := getattr(kubernetes.client, kind, None)):
        types = {name: model.openapi_types[field] for field, name in model.attribute_map.items()}
    if types is None:
        if (wanted := SCALARS.get(kind)) is not None and type(value) is not wanted:
            yield f"{at}: expected {kind}"
        return
    for key, item in value.items():
        if key in types:
            yield from find_problems(item, types[key], f"{at}.{key}")
        else:
            yield f"{at}.{key}: unknown"


def find_one(kind: str) -> dict[str, Any]:
    return next(each for each in read_objects() if each["kind"] == kind)


def test_kubernetes_takes_every_object() -> None:
    for each in read_objects():
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    for spec in ({"replica": 1}, {"replicas": "two"}):
        deployment = find_one("Deployment")
        deployment["spec"] |= spec
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(deployment, KUBERNETES, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("written", "wrong", "problem"),
    [
        ("", "", ""),
        ("image:", "imagee:", "'imagee' was unexpected"),
        ("interval: 10s", "interval: [10]", "[10] is not of type 'string'"),
    ],
)
def test_compose_takes_the_file(written: str, wrong: str, problem: str, tmp_path: Path) -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert written in text
    (tmp_path / "compose.yaml").write_text(text.replace(written, wrong, 1))
    command = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == (1 if problem else 0), done.stdout
    assert problem in done.stdout


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
    assert list(find_problems(service, "V1beta1InferenceService", "service")) == []
    predictor = service["spec"]["predictor"]
    assert predictor["model"]["modelFormat"] == {"name": "tensorflow"}
    assert predictor["securityContext"]["runAsNonRoot"] is True
    predictor |= {"maxReplica": 1, "minReplicas": "1", "tolerations": [{"keys": "x"}]}
    assert list(find_problems(service, "V1beta1InferenceService", "service")) == [
        "service.spec.predictor.minReplicas: expected int",
        "service.spec.predictor.maxReplica: unknown",
        "service.spec.predictor.tolerations.0.keys: unknown",
    ]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "systemd" / "mirante-serve.service").read_text()
    unit = tmp_path / "mirante-serve.service"
    unit.write_text(text.replace("/opt/mirante/.venv/bin/mirante", "/bin/true"))
    assert verify_unit(unit) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd")
@pytest.mark.parametrize(
    ("whole", "broken", "said"),
    [
        ("ExecStart=/opt/mirante/.venv/", "ExecStart=/nowhere/", "is not executable: No such file"),
        ("KillSignal=SIGTERM", "KillSignal=SIGNOTHING", "Failed to parse"),
        ("ProtectHome=yes", "ProtectHomes=yes", "Unknown key"),
        ("[Service]", "[Services]", "Unknown section"),
    ],
)
def test_systemd_refuses_a_broken_unit(tmp_path: Path, whole: str, broken: str, said: str) -> None:
    text = (DEPLOY / "systemd" / "mirante-serve.service").read_text()
    assert whole in text
    unit = tmp_path / "mirante-serve.service"
    unit.write_text(text.replace(whole, broken).replace("/opt/mirante/.venv/bin/mirante", "/bin/true"))
    assert said in verify_unit(unit)[1]


def verify_unit(unit: Path) -> tuple[int, str]:
    """Return systemd's exit status and messages about a unit."""
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    return done.returncode, done.stderr
