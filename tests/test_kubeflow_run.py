"""The compiled package, run to its end by kfp's own local runner: a process a task, no Docker, no cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("kfp", reason="kfp is not on Python 3.10")

from pipeline.checkout import import_kubeflow
from pipeline.config import load_recipe
from pipeline.nodes import NODE_IDS
from tests.test_task import OUTCOMES

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "digits.yaml"
    recipe = load_recipe("digits", ["training.epochs=4"], elsewhere=True)
    import_kubeflow("compile").compile_recipe(recipe, "mirante:python", path)
    return path


def run(
    package: Path, folder: Path, outputs: str, first_on_path: Path | str = "", **parameters: object
) -> tuple[int, str]:
    """Exit code and log of the package under kfp's SubprocessRunner."""
    given = [f"{name}={json.dumps(value)}" for name, value in parameters.items()]
    done = subprocess.run(
        [sys.executable, "-m", "tests.kfp_local", str(package), str(folder / outputs), *given],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{first_on_path}{os.pathsep}{REPOSITORY}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def metrics(folder: Path) -> dict[str, float]:
    """What the Evaluator's task gave to the UI as numbers."""
    (output,) = folder.glob("*/*evaluator*/executor_output.json")
    artifacts = json.loads(output.read_text())["artifacts"]
    return artifacts["metrics"]["artifacts"][0]["metadata"]


def test_the_package_runs_to_the_end_and_again_from_the_cache(package: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    settings = {"pipeline_root": str(root), "threshold_accuracy": 0.5, "threshold_loss": 2.0, "seed": 3}
    code, log = run(package, tmp_path, "first", **settings)
    assert code == 0, log[-5000:]
    assert dict(OUTCOMES.findall(log)) == dict.fromkeys(NODE_IDS, "completed")
    (pushed,) = (root / "serving").iterdir()
    assert (pushed / "saved_model.pb").is_file()
    found = metrics(tmp_path / "first")
    assert found["accuracy"] > 0.8
    views = {path.parent.name: path for path in (tmp_path / "first").glob("*/*/view")}
    assert set(views) == {"ingest", *(node.lower() for node in NODE_IDS)}
    assert all("<html" in path.read_text(encoding="utf-8") for path in views.values())

    code, log = run(package, tmp_path, "second", **settings)
    assert code == 0, log[-5000:]
    assert dict(OUTCOMES.findall(log)) == dict.fromkeys(NODE_IDS, "cached")
    assert metrics(tmp_path / "second") == found
    assert [path.name for path in (root / "serving").iterdir()] == [pushed.name]

    # `mirante run` with the same seed elsewhere finds the same numbers, but for the last digits: TFMA's order
    # of sums is not fixed.
    command = [
        str(Path(sys.executable).with_name("mirante")),
        *("run", "digits", "--json", "--root", str(tmp_path / "local")),
        *("--set", "training.epochs=4", "--set", "training.seed=3"),
        *("--set", "evaluation.thresholds={accuracy: 0.5, loss: 2.0}"),
    ]
    local = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert local.returncode == 0, local.stderr[-3000:]
    result = json.loads(local.stdout.splitlines()[-1])
    assert result["metrics"] == pytest.approx({name: found[name] for name in result["metrics"]}, abs=1e-6)
    # And in the same root it finds all done: one cache, one lineage.
    command[command.index("--root") + 1] = str(root)
    again = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    result = json.loads(again.stdout.splitlines()[-1])
    assert {outcome["status"] for outcome in result["components"].values()} == {"cached"}
    assert result["pushed_model"] == str(pushed)


def test_a_model_that_is_not_good_enough_ends_the_run_with_its_reason(package: Path, tmp_path: Path) -> None:
    together = load_recipe(
        "digits", ["training.epochs=1", f"kubeflow.together=[[{', '.join(NODE_IDS)}]]"], elsewhere=True
    )
    path = tmp_path / "together.yaml"
    import_kubeflow("compile").compile_recipe(together, "mirante:python", path)
    code, log = run(path, tmp_path, "out", pipeline_root=str(tmp_path / "root"), threshold_accuracy=0.9999)
    assert code == 1
    assert dict(OUTCOMES.findall(log)) == dict.fromkeys(NODE_IDS, "completed")
    assert "the model is not blessed: accuracy is 0." in log
    assert "mirante: nothing was pushed: it is not blessed" in log
    assert not (tmp_path / "root" / "serving").exists()
