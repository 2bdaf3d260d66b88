"""The compiled package, run to its end by kfp's own local runner: a process a task, no Docker, no cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("kfp", reason="kfp is not on Python 3.10")

from components.base.saved_model import CARD_FILES
from pipeline.recipe.load import load_recipe
from pipeline.steps import INGEST, node_ids, step_named
from tests.make.commands import mirante
from tests.make.packages import compile_package
from tests.make.quick import quick_python
from tests.pages.test_views import text_of
from tests.targets.test_task import OUTCOMES

pytestmark = [pytest.mark.long, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]


def compiled(path: Path, *overrides: str) -> Path:
    """The package of digits in four epochs."""
    recipe = load_recipe("digits", ["training.epochs=4", *overrides], elsewhere=True)
    return compile_package(recipe, path)


def run(
    package: Path,
    folder: Path,
    outputs: str,
    first_on_path: Path | str = "",
    python: Path | str | None = None,
    **parameters: object,
) -> tuple[int, str]:
    """Exit code and log of the package under kfp's SubprocessRunner, each task a process of this Python."""
    python = str(python or quick_python())
    given = [f"{name}={json.dumps(value)}" for name, value in parameters.items()]
    done = subprocess.run(
        [python, "-m", "tests.kfp_local", python, str(package), str(folder / outputs), *given],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{first_on_path}{os.pathsep}{REPOSITORY}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def metrics(folder: Path, kind: str = "metrics") -> dict[str, Any]:
    """Return what the Evaluator's task gave to the UI: its numbers, or as `classification` what KFP draws."""
    for output in folder.glob("*/*/executor_output.json"):
        # The UI reads JSON, which knows no Infinity.
        artifacts = json.loads(output.read_text(), parse_constant=pytest.fail)["artifacts"]
        if found := artifacts.get(f"{kind}_Evaluator"):
            metadata: dict[str, Any] = found["artifacts"][0]["metadata"]
            return metadata
    pytest.fail(f"no task gave {kind} of the Evaluator")


def read_pages(folder: Path) -> dict[str, str]:
    """Return the pages of all nodes by name, which is in small letters where a task has one node."""
    return {
        path.name.removeprefix("view_") if "_" in path.name else path.parent.name: path.read_text("utf-8")
        for path in folder.glob("*/*/view*")
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kubeflow") / "root"


def test_the_package_runs_to_the_end_and_again_from_the_cache(root: Path, tmp_path: Path) -> None:
    asked = "bulk_inference.input=test"
    nodes = node_ids({"bulk_inference"})
    package = compiled(tmp_path / "digits.yaml", "kubeflow.together=null", asked)
    settings: dict[str, Any] = {
        "pipeline_root": str(root),
        "threshold_accuracy": 0.5,
        "threshold_loss": 2.0,
        "seed": 3,
    }
    code, log = run(package, tmp_path, "first", **settings)
    assert code == 0, log[-5000:]
    assert dict(OUTCOMES.findall(log)) == dict.fromkeys(nodes, "completed")
    (pushed,) = (root / "serving").glob("[0-9]*")
    assert (pushed / "saved_model.pb").is_file()
    found = metrics(tmp_path / "first")
    assert found["accuracy"] > 0.8
    card = json.loads((pushed / CARD_FILES[1]).read_text(encoding="utf-8"))
    assert card["quantitative_analyses"]["overall"]["accuracy"] == pytest.approx(found["accuracy"])
    assert card["model_details"]["run_id"] == next((root / "runs").glob("*/plan.json")).parent.name
    drawn = metrics(tmp_path / "first", "classification")
    rows = [row["row"] for row in drawn["confusionMatrix"]["rows"]]
    assert [label["displayName"] for label in drawn["confusionMatrix"]["annotationSpecs"]] == list(
        "0123456789"
    )
    assert sum(map(sum, rows)) == 354  # test images
    assert sum(row[i] for i, row in enumerate(rows)) / 354 == pytest.approx(found["accuracy"], abs=1e-6)
    curve = [
        (point["falsePositiveRate"], point["recall"], point["confidenceThreshold"])
        for point in drawn["confidenceMetrics"]
    ]
    assert curve == sorted(curve, key=lambda point: point[:2])
    assert (curve[0][0], curve[-1][:2]) == (0.0, (1.0, 1.0))
    (pushed_view,) = (tmp_path / "first").glob("*/*-to-*/view_Pusher")
    assert str(pushed) in pushed_view.read_text(encoding="utf-8")
    pages = read_pages(tmp_path / "first")
    assert {name.lower() for name in pages} == {"ingest", *(node.lower() for node in nodes)}
    assert all("<html" in page for page in pages.values())
    # Of each artifact KFP has where it is.
    for step in (INGEST, *map(step_named, nodes)):
        for artifact in step.gives:
            (text,) = (tmp_path / "first").glob(f"*/*/{artifact.name}")
            place, node, *_ = text.read_text(encoding="utf-8").splitlines()
            assert node == f"node: {step.id}"
            assert (place == "none") == (artifact.name == "baseline")
            assert place == "none" or Path(place).is_relative_to(root)
            assert place == "none" or Path(place).exists()
    (outputs,) = (tmp_path / "first").glob("*/datagate-to-*/executor_output.json")
    model = json.loads(outputs.read_text())["artifacts"]["pushed_model"]["artifacts"][0]["metadata"]
    assert (model["state"], model["pushed_version"]) == ("completed", pushed.name)

    # All nodes in one task, which starts once, and takes all results from the first run without TensorFlow.
    (tmp_path / "forbidden").mkdir()
    (tmp_path / "forbidden" / "tensorflow.py").write_text("raise ImportError('not in an unchanged run')")
    in_one = f"kubeflow.together=[[Ingest, {', '.join(nodes)}]]"
    together = compiled(tmp_path / "together.yaml", asked, in_one)
    code, log = run(
        together,
        tmp_path,
        "second",
        first_on_path=tmp_path / "forbidden",
        python=sys.executable,
        **settings,
    )
    assert code == 0, log[-5000:]
    assert dict(OUTCOMES.findall(log)) == dict.fromkeys(nodes, "cached")
    assert metrics(tmp_path / "second") == found
    assert metrics(tmp_path / "second", "classification") == drawn
    again_pages = {name.lower(): page for name, page in read_pages(tmp_path / "second").items()}
    assert again_pages == {name.lower(): page for name, page in pages.items()}
    assert [path.name for path in (root / "serving").glob("[0-9]*")] == [pushed.name]

    # `mirante run` with the same seed in the same root finds all done: one cache, one lineage.
    again = mirante(
        *("run", "digits", "--json", "--root", str(root)),
        *("--set", "training.epochs=4", "--set", "training.seed=3", "--set", asked),
        *("--set", "evaluation.thresholds={accuracy: 0.5, loss: 2.0}"),
        runs_nodes=True,
    )
    assert again.returncode == 0, again.stderr[-3000:]
    result = json.loads(again.stdout.splitlines()[-1])
    assert {outcome["status"] for outcome in result["components"].values()} == {"cached"}
    assert result["metrics"] == pytest.approx({name: found[name] for name in result["metrics"]})
    assert result["pushed_model"] == str(pushed)
    answers = Path(result["answers"].pop("folder"))
    assert result["answers"] == {"files": 1, "images": 354, "errors": 0, "format": "parquet"}
    assert {path.name for path in answers.iterdir()} == {"batch.json", "part-00000-of-00001.parquet"}

    # Another model is compared with that one; it is not good enough, which ends the run with its reason.
    code, log = run(together, tmp_path, "third", **{**settings, "epochs": 1, "threshold_accuracy": 0.9999})
    assert code == 1
    executed = {node for node, outcome in OUTCOMES.findall(log) if outcome == "completed"}
    assert executed == {"Trainer", "InfraValidator", "Resolver", "Evaluator", "Pusher", "BulkInference"}
    (page,) = (tmp_path / "third").glob("*/*/view_Evaluator")
    said = text_of(page.read_text(encoding="utf-8"))
    row = rf"accuracy 0\.\d+ 0\.\d+ to 0\.\d+ at least 0.9999, change .* {found['accuracy']:.4f} -0\.\d+ "
    assert re.search(row, said)
    assert "the model is not blessed: accuracy is 0." in log
    assert re.search(r"accuracy changed by -0\.\d+ against the baseline", log)
    assert "mirante: nothing was pushed: it is not blessed" in log
    assert [path.name for path in (root / "serving").glob("[0-9]*")] == [pushed.name]
    assert "mirante: nothing was pushed" in log.split("pages       ")[1]
    # Its task has succeeded: all pages are Kubeflow's, that of the Pusher too.
    assert "to BulkInference: done" in log
    assert set(read_pages(tmp_path / "third")) == {"Ingest", *nodes}
    (kept,) = re.findall(r"pages       (\S+)$", log, re.MULTILINE)
    assert {path.stem for path in Path(kept).glob("*.html")} == set(nodes)


def test_a_trainer_that_is_ended_goes_on_when_it_is_tried_again(root: Path) -> None:
    # The nodes before are those of the test above.
    code, log = up_to_trainer(root, "plan", end_at="training epoch 3/12")
    assert code == 130
    assert log.splitlines()[-1] == "mirante: interrupted; the task continues from here when it is tried again"
    code, log = up_to_trainer(root, "retry")
    assert code == 0, log[-5000:]
    gone_on = re.search(r"training resumes at step (\d+), in epoch (\d+), from a checkpoint", log)
    assert gone_on, log[-5000:]
    assert int(gone_on[2]) in (3, 4)
    assert "training epoch 2/12" not in log
    assert dict(OUTCOMES.findall(log)) == {"Trainer": "completed"}


UP_TO_TRAINER = """
import sys
from pathlib import Path
from pipeline.steps import INGEST, node_ids, step_named
from tests.targets.test_task import ingest, run
if sys.argv[2] == "plan":
    overrides = {"training.epochs": 12, "training.checkpoints": {"steps": 10, "min_secs": 0.1}}
    ingest(Path(sys.argv[1]), {"data.path": ""}, overrides, run_id="again")
    run(Path(sys.argv[1]), *node_ids()[: node_ids().index("Trainer")], run_id="again")
run(Path(sys.argv[1]), "Trainer", run_id="again")
"""


def up_to_trainer(root: Path, what: str, end_at: str | None = None) -> tuple[int, str]:
    """Runs the nodes up to the Trainer in a task's process; SIGTERM when the log has `end_at`."""
    process = subprocess.Popen(
        [quick_python(), "-c", UP_TO_TRAINER, str(root), what],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        if end_at is not None and end_at in line:
            process.terminate()
            end_at = None  # once: a line whose printing was interrupted may come again
    return process.wait(), "".join(lines)
