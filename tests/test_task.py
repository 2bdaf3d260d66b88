"""Tasks as Kubeflow starts them, without Kubeflow: ingest and plan, one node, again after a kill."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import task
from pipeline.config import load_recipe

RUN = "run-1"
# As "[ 1/1] Trainer  completed  1.2 s" stands in a task's log.
OUTCOMES = re.compile(
    r"^\s*\[ ?\d+/ ?\d+\] (\w+)\s+(completed|cached|failed|skipped)\s+[\d.]+ s$", re.MULTILINE
)


def html(path: Path) -> Any:
    """What kfp hands over for an `Output[HTML]`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return SimpleNamespace(path=str(path))


def ingest(
    root: Path, settings: dict[str, Any] | None = None, overrides: dict[str, Any] | None = None
) -> None:
    recipe = load_recipe("digits", elsewhere=True).model_dump_json()
    task.ingest(recipe, settings or {}, overrides or {}, str(root), RUN, html(root / "views" / "ingest.html"))


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("task") / "root"
    ingest(root, {"training.epochs": 2, "data.path": ""}, {"training.patience_epochs": 1})
    return root


def test_a_run_is_planned_under_the_root(planned: Path) -> None:
    folder = planned / "runs" / RUN
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["training"]["epochs"] == 2
    assert recipe["training"]["patience_epochs"] == 1
    assert recipe["data"]["path"] is None
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["class_names"] == [str(digit) for digit in range(10)]
    assert (planned / "data" / "manifest.json").is_file()
    assert "1,267" in (planned / "views" / "ingest.html").read_text()  # images of train


@pytest.mark.parametrize(
    ("settings", "overrides", "said"),
    [
        (
            {},
            {"training.lerning_rate": 1},
            "unknown key 'training.lerning_rate': did you mean 'learning_rate'?",
        ),
        ({}, {"training.epochs.first": 1}, "overrides: training.epochs.first: epochs is a single value"),
        ({"training.epochs": 0}, {}, "training.epochs: input should be greater than or equal to 1, got 0"),
        ({}, {"data.source": "folders"}, "data.source: there is no 'folders': did you mean 'folder'?"),
    ],
)
def test_a_wrong_parameter_ends_the_first_task_with_its_name(
    settings: dict[str, Any],
    overrides: dict[str, Any],
    said: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        ingest(tmp_path / "root", settings, overrides)
    assert ended.value.code == 2
    lines = capfd.readouterr().out.strip().splitlines()
    assert lines[0].startswith("mirante ")
    assert "Ingest  run run-1 in" in lines[0]
    assert lines[-1].startswith("mirante: the run's parameters: ") or lines[-1].startswith(
        "mirante: overrides"
    )
    assert said in lines[-1]
    assert not (tmp_path / "root").exists()


def run(root: Path, *names: str) -> None:
    task.run_nodes(
        list(names), str(root), RUN, {name: html(root / "views" / f"{name}.html") for name in names}
    )


def test_a_node_runs_in_a_task_and_is_cached_in_the_next(
    planned: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for status in ("completed", "cached"):
        run(planned, "ImportExampleGen", "ImportSchemaGen")
        log = capfd.readouterr().out
        said = log.strip().splitlines()
        assert "ImportExampleGen, ImportSchemaGen  run run-1 in" in said[0]
        assert dict(OUTCOMES.findall(log)) == {"ImportExampleGen": status, "ImportSchemaGen": status}
        assert said[-1] == "ImportExampleGen, ImportSchemaGen: done"
    assert (planned / "views" / "ImportSchemaGen.html").stat().st_size > 100


def test_a_task_that_was_killed_is_put_away_when_it_is_tried_again(planned: Path) -> None:
    from ml_metadata.metadata_store import MetadataStore
    from ml_metadata.proto import metadata_store_pb2

    from pipeline.metadata_store import sqlite_store

    run(planned, "ImportExampleGen", "ImportSchemaGen")
    store = MetadataStore(sqlite_store(planned))
    by_type = {kind.id: kind.name for kind in store.get_execution_types()}
    killed = next(
        execution
        for execution in store.get_executions()
        if by_type[execution.type_id].endswith("ImportExampleGen") and execution.HasField("id")
    )
    other = next(
        execution
        for execution in store.get_executions()
        if by_type[execution.type_id].endswith("ImportSchemaGen")
    )
    for execution in (killed, other):
        execution.last_known_state = metadata_store_pb2.Execution.RUNNING
    store.put_executions([killed, other])
    left = planned / "ImportExampleGen" / "examples" / str(killed.id)
    assert left.is_dir()
    run(planned, "ImportExampleGen")
    states = {execution.id: execution.last_known_state for execution in store.get_executions()}
    assert states[killed.id] == metadata_store_pb2.Execution.FAILED
    assert states[other.id] == metadata_store_pb2.Execution.RUNNING  # another task's, which may be at work
    assert not left.exists()


def test_a_node_without_a_plan_says_which_volume(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(tmp_path / "nowhere", "Trainer")
    assert ended.value.code == 2
    assert "did the task Ingest write to the same volume?" in capfd.readouterr().out.splitlines()[-1]


def test_a_failed_node_ends_its_task_with_one_clear_error(
    planned: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(planned, "Pusher")
    assert ended.value.code == 1
    last = capfd.readouterr().out.strip().splitlines()[-2:]
    assert last[0].startswith("mirante: Pusher failed: RuntimeError: Pusher found no input")
