"""Packages as real pods of the container image, on a cluster of one node, to their end.

Root is needed. MIRANTE_POD_IMAGE names the image, which Docker has (default mirante:ci).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("kfp", reason="kfp is not on Python 3.10")

from tests.kfp_check import ROOT, check_packages
from tests.kfp_cluster import Cluster, running_pods
from tests.make.attempts import compile_attempts
from tests.make.commands import mirante

pytestmark = pytest.mark.kubeflow

IMAGE = os.environ.get("MIRANTE_POD_IMAGE") or "mirante:ci"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_pods(IMAGE) as started:
        yield started


def compile_recipe(folder: Path, recipe: str, *settings: str) -> Path:
    package = folder / f"{recipe}.yaml"
    given = [argument for setting in settings for argument in ("--set", setting)]
    done = mirante("compile", recipe, "--image", IMAGE, "-o", str(package), *given, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    check_packages(package)
    return package


@pytest.fixture(scope="module")
def results(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Results of `mirante submit` for runs that take place at the same time, and for one after them."""
    folder = tmp_path_factory.mktemp("packages")
    packages = {
        "digits": compile_recipe(folder, "digits"),
        "third succeeds": compile_attempts(folder, IMAGE, "third", 3),
        "always fails": compile_attempts(folder, IMAGE, "always", 100),
    }
    with ThreadPoolExecutor(len(packages)) as pool:
        done = pool.map(lambda package: cluster.submit(package, code=None), packages.values())
        found = dict(zip(packages, done, strict=True))
    # The nodes before the Evaluator have their results.
    asked = ("--param", "threshold_accuracy=1.0")
    return {**found, "not good enough": cluster.submit(packages["digits"], *asked, code=None)}


def test_digits_runs_to_its_end(cluster: Cluster, results: dict[str, dict[str, Any]]) -> None:
    result = results["digits"]
    assert (result["code"], result["state"]) == (0, "SUCCEEDED"), result["log"]
    assert {task["state"] for task in result["tasks"].values()} == {"SUCCEEDED"}
    assert list(result["tasks"]) == ["Ingest to Pusher"]
    (model,) = cluster.volume.glob("digits/serving/*/saved_model.pb")
    assert model.stat().st_uid == 1000
    found = cluster.kubectl(
        "exec", "mirante-data", "--", "find", "/mirante/digits/serving", "-name", model.name
    )
    assert found.strip() == f"/mirante/{model.relative_to(cluster.volume)}"
    assert all(len(line) <= 80 or "http" in line for line in result["log"].splitlines())


def test_a_model_that_is_not_good_enough_fails_the_run_and_keeps_all_pages(
    cluster: Cluster, results: dict[str, dict[str, Any]]
) -> None:
    result = results["not good enough"]
    assert (result["code"], result["state"]) == (1, "FAILED"), result["log"]
    assert {name: task["state"] for name, task in result["tasks"].items()} == {
        "Ingest to Pusher": "SUCCEEDED",
        "Verdict": "FAILED",
    }
    reason = "nothing was pushed: it is not blessed; the pages of InfraValidator and Evaluator say why"
    assert f"Verdict: {reason}" in " ".join(result["error"].split())
    assert len(list(cluster.volume.glob("digits/serving/*/saved_model.pb"))) == 1


@pytest.mark.parametrize("name", ["third succeeds", "always fails"])
def test_a_task_is_tried_as_often_as_asked_for(
    cluster: Cluster, results: dict[str, dict[str, Any]], name: str
) -> None:
    result = results[name]
    tried = (cluster.volume / "attempts" / result["run_id"]).read_text().split()
    # In one pod: Argo adds none, and none is multiplied.
    assert (len(tried), len(set(tried))) == (3, 1)
    if name == "third succeeds":
        assert (result["code"], result["state"]) == (0, "SUCCEEDED"), result["log"]
        return
    reason = "data: expected attempt 100, got 3 (attempt 3 of 3)"
    assert result["code"] == 1
    assert f"\n  trainer: {reason}\n" in result["error"]
    # What Kubernetes has as the reason, and Argo passes on.
    assert f"mirante: {reason}" in cluster.messages(result["run_id"])
