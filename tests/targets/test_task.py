"""Tasks as Kubeflow starts them, without Kubeflow: ingest and plan, one node, again after a kill."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx.proto.orchestration import pipeline_pb2

from components.base.outcome import RunResult
from pipeline import task
from pipeline.recipe.load import load_recipe
from pipeline.steps import step_named
from pipeline.storage.metadata_store import sqlite_store
from pipeline.storage.root_lease import RootLease
from pipeline.targets.kubeflow import nodes
from tests.make.folders import write_photos

RUN = "run-1"
RUNNING = metadata_store_pb2.Execution.State.Value("RUNNING")
COMPLETE = metadata_store_pb2.Execution.State.Value("COMPLETE")
FAILED = metadata_store_pb2.Execution.State.Value("FAILED")
# As a task's log has it: "[ 1/1] Trainer  completed  1.2 s".
OUTCOMES = re.compile(
    r"^\s*\[ ?\d+/ ?\d+\] (\w+)\s+(completed|cached|failed|skipped)\s+[\d.]+ s$", re.MULTILINE
)


def html(path: Path) -> Any:
    """Return what kfp passes for an `Output[HTML]`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return SimpleNamespace(path=str(path))


def ingest(
    root: Path,
    settings: dict[str, Any] | None = None,
    overrides: dict[str, Any] | None = None,
    run_id: str = RUN,
) -> None:
    recipe = load_recipe("digits", elsewhere=True).model_dump_json()
    view = html(root.parent / "views" / "ingest.html")
    task.ingest(recipe, settings or {}, overrides or {}, str(root), run_id, view)


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
    assert "1,267" in (planned.parent / "views" / "ingest.html").read_text()  # images of train


@pytest.mark.slow
def test_a_run_without_the_cache_executes_every_node(tmp_path: Path) -> None:
    for value in (True, False):
        ingest(tmp_path / "root", {"data.path": "", "use_cache": value})
        planned = pipeline_pb2.Pipeline.FromString(
            (tmp_path / "root" / "runs" / RUN / "pipeline.pb").read_bytes()
        )
        options = [node.pipeline_node.execution_options for node in planned.nodes]
        assert {option.caching_options.enable_cache for option in options} == {value}


@pytest.mark.slow
def test_a_run_takes_the_newest_span_and_keeps_to_it(tmp_path: Path) -> None:
    root, photos = tmp_path / "root", tmp_path / "photos"
    for name in ("2026-11-25", "2026-11-26"):
        shutil.copytree(write_photos(tmp_path / "made"), photos / name)
    path = f"{photos}/{{YYYY}}-{{MM}}-{{DD}}"
    ingest(root, {"data.path": path}, {"data.source": "folder"})
    planned = pipeline_pb2.Pipeline.FromString((root / "runs" / RUN / "pipeline.pb").read_bytes())
    (parameters,) = (
        node.pipeline_node.parameters.parameters
        for node in planned.nodes
        if node.pipeline_node.node_info.id == "ImportExampleGen"
    )
    given = {name: value.field_value for name, value in parameters.items()}
    assert given["input_base"].string_value == str(root / "data" / "span-20783")
    splits = json.loads(given["input_config"].string_value)["splits"]
    assert splits[0] == {"name": "train", "pattern": "train-*-of-*"}
    assert given["span"].int_value == 20783
    page = (tmp_path / "views" / "ingest.html").read_text(encoding="utf-8")
    assert "span 20783 (2026-11-26)" in page
    end(root)
    # The run's form asks for one that is there; the recipe is kept as it was asked for.
    ingest(root, {"data.path": path}, {"data.source": "folder", "data.span": "2026-11-25"}, "run-2")
    recipe = json.loads((root / "runs" / "run-2" / "recipe.json").read_text())
    assert (recipe["data"]["path"], recipe["data"]["span"]) == (path, 20782)


def test_an_option_of_ingest_for_ingested_data_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "train-00000-of-00001").touch()
    with pytest.raises(SystemExit) as ended:
        ingest(tmp_path / "root", {"data.path": str(data)}, {"data.resize_px": 64})
    assert ended.value.code == 2
    last = capfd.readouterr().out.strip().splitlines()[-1]
    assert f"mirante: overrides: data.resize_px: it has no effect, {data} is ingested already" in last


@pytest.mark.parametrize(
    ("settings", "overrides", "said"),
    [
        (
            {},
            {"training.lerning_rate": 1},
            "unknown key 'training.lerning_rate': did you mean 'learning_rate'?",
        ),
        ({}, {"training.epochs.first": 1}, "overrides: training.epochs.first: epochs is a single value"),
        ({"training.epochs": 0}, {}, "training.epochs: expected 1 or more, got 0"),
        ({}, {"data.source": "folders"}, "got 'folders'; did you mean 'folder'?"),
        (
            {},
            {"kubeflow.defaults.memory": "8Gi"},
            "overrides: kubeflow.defaults.memory: which tasks there are, ",
        ),
        (
            {},
            {
                "training.warm_start": {
                    "from": "latest_blessed",
                    "fine_tune_checkpoint_type": "classification",
                }
            },
            "overrides: with them the pipeline's nodes are others (BaseModelResolver)",
        ),
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


def refused(root: Path, recipe: str, data: str, capfd: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """Exit code and last line of an Ingest that has to fail, with nothing of a traceback in its log."""
    given = load_recipe(recipe, ["model.weights=null"], elsewhere=True).model_dump_json()
    with pytest.raises(SystemExit) as ended:
        task.ingest(given, {"data.path": data}, {}, str(root), RUN, html(Path(os.devnull)))
    log = capfd.readouterr().out
    assert "Traceback" not in log
    return ended.value.code, log.strip().splitlines()[-1]


def test_a_root_that_cannot_be_written_to_is_told_with_the_user(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    code, said = refused(tmp_path / "file" / "root", "digits", "", capfd)
    assert code == 2
    assert said.startswith(
        f"mirante: pipeline_root: user {os.getuid()} cannot write to {tmp_path}/file/root: "
    )
    assert said.endswith("says what to do")


def test_data_that_is_refused_ends_the_first_task_with_its_reason(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, said = refused(tmp_path / "root", "folder", str(tmp_path / "photos"), capfd)
    assert (code, said) == (2, f"mirante: INPUT {tmp_path}/photos does not exist: check the path")
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    (tmp_path / "photos" / "cats" / "1.jpg").write_bytes(b"no picture")
    code, said = refused(tmp_path / "root", "folder", str(tmp_path / "photos"), capfd)
    assert code == 3
    assert "Correct or remove them and run the same command again" in said


def end(root: Path, run_id: str = RUN, store: Any = None) -> None:
    """Ends a run as its last task does: the root is free for another one."""
    with RootLease(store or sqlite_store(root), str(root), run_id, "Pusher").held(ends_run=True):
        pass


def run(root: Path, *names: str, run_id: str = RUN) -> None:
    views = {name: html(root.parent / "views" / f"{name}.html") for name in names}
    task.run_nodes(list(names), str(root), run_id, views)


def test_the_verdict_says_all_without_the_log_of_the_task_before() -> None:
    result = RunResult("digits", RUN, "root")
    pusher, taken_back = step_named("Pusher"), "nothing was pushed: version 3 was taken back"
    why = "nothing was pushed: it is not blessed; the pages of InfraValidator and Evaluator say why"
    assert nodes._explain_refusal(pusher, result, ["the model is not infra blessed"]) == why
    result.taken_back = 3
    assert nodes._explain_refusal(pusher, result, ["the model is slow", taken_back]) == taken_back


def test_a_run_that_pushed_nothing_ends_with_its_verdict(capfd: pytest.CaptureFixture[str]) -> None:
    why = "nothing was pushed: it is not blessed; the pages of InfraValidator and Evaluator say why"
    with pytest.raises(SystemExit) as ended:
        task.refuse(why)
    assert ended.value.code == 4
    assert capfd.readouterr().out.splitlines()[-1] == f"mirante: {why}"


def executions(root: Path) -> dict[int, tuple[str, int]]:
    """Type and state of all executions, by their ids."""
    store = MetadataStore(sqlite_store(root))
    kinds = {kind.id: kind.name.rpartition(".")[2] for kind in store.get_execution_types()}
    return {item.id: (kinds[item.type_id], item.last_known_state) for item in store.get_executions()}


def test_a_node_runs_in_a_task_and_is_cached_in_the_next_run(
    planned: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ("ImportExampleGen", "ImportSchemaGen")
    for run_id, status in ((RUN, "completed"), ("run-2", "cached")):
        if run_id != RUN:
            end(planned)
            ingest(planned, {"training.epochs": 2, "data.path": ""}, {}, run_id)
        capfd.readouterr()
        run(planned, *names, run_id=run_id)
        log = capfd.readouterr().out
        said = log.strip().splitlines()
        assert f"ImportExampleGen and ImportSchemaGen  run {run_id} in" in said[0]
        assert dict(OUTCOMES.findall(log)) == dict.fromkeys(names, status)
        assert said[-1] == "ImportExampleGen and ImportSchemaGen: done"
    end(planned, "run-2")
    assert (planned.parent / "views" / "ImportSchemaGen.html").stat().st_size > 100


def test_another_run_on_the_same_root_is_refused_while_one_is_under_way(
    planned: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(planned, "ImportExampleGen")
    with pytest.raises(SystemExit) as ended:
        ingest(planned, {"data.path": ""}, {}, "run-3")
    assert ended.value.code == 1
    said = capfd.readouterr().out.strip().splitlines()[-1]
    assert said.startswith(f"mirante: {planned} is in use by run run-1 (task ImportExampleGen on ")


def test_a_task_that_had_succeeded_executes_nothing_when_it_is_tried_again(planned: Path) -> None:
    run(planned, "ImportExampleGen", "ImportSchemaGen")
    before = executions(planned)
    run(planned, "ImportExampleGen", "ImportSchemaGen")
    assert executions(planned) == before


@pytest.mark.slow
def test_a_task_that_was_killed_starts_anew_when_it_is_tried_again(planned: Path) -> None:
    run(planned, "ImportExampleGen", "ImportSchemaGen")
    found = executions(planned)
    (killed, other) = (
        min(number for number, (kind, state) in found.items() if kind.endswith(name) and state == COMPLETE)
        for name in ("ImportExampleGen", "ImportSchemaGen")
    )
    store = MetadataStore(sqlite_store(planned))
    changed = store.get_executions_by_id([killed, other])
    for execution in changed:
        execution.last_known_state = RUNNING
    store.put_executions(changed)
    half = planned / "ImportExampleGen" / "examples" / str(killed) / "half-written"
    half.touch()
    run(planned, "ImportExampleGen")
    assert executions(planned)[killed] == ("ImportExampleGen", FAILED)
    assert executions(planned)[other][1] == RUNNING  # another task's, which may be at work
    assert not half.exists()
    anew = max(number for number, (kind, _) in executions(planned).items() if kind == "ImportExampleGen")
    assert executions(planned)[anew][1] == COMPLETE
    written = half.parents[1] / str(anew)
    assert sorted(path.name for path in written.iterdir()) == ["Split-eval", "Split-test", "Split-train"]


@pytest.mark.both_stacks
@pytest.mark.slow
def test_a_damaged_output_is_made_anew_in_a_task(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "root"
    statuses = []
    for run_id in ("run-1", "run-2", "run-3"):
        if run_id == "run-2":
            shard = next(root.glob("ImportExampleGen/examples/*/Split-train/*"))
            os.truncate(shard, 1000)
        ingest(root, run_id=run_id)
        capfd.readouterr()
        run(root, "ImportExampleGen", run_id=run_id)
        log = capfd.readouterr().out
        statuses.append(dict(OUTCOMES.findall(log))["ImportExampleGen"])
        said = f"{shard.name} has 1,000 bytes, and " if run_id == "run-2" else "it runs again"
        assert (said in log) == (run_id == "run-2")
        end(root, run_id)
    assert statuses == ["completed", "completed", "cached"]
    (anew,) = set(root.glob("ImportExampleGen/examples/*/Split-train/*")) - {shard}
    assert anew.stat().st_size > 1000


RUN_A_NODE = """
import sys
from pathlib import Path
from tests.targets.test_task import run
run(Path(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.slow
def test_a_task_killed_while_its_node_works_ends_well_when_it_is_tried_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, node = tmp_path / "root", "ImportExampleGen"
    ingest(root)
    task_process = subprocess.Popen(
        [sys.executable, "-c", RUN_A_NODE, str(root), node],
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    while not any(root.glob(f"{node}/.system/executor_execution/*")):
        assert task_process.poll() is None
        time.sleep(0.01)
    os.killpg(task_process.pid, signal.SIGKILL)
    assert task_process.wait() == -signal.SIGKILL
    assert [state for _, state in executions(root).values()] == [RUNNING]
    for run_id, status in ((RUN, "completed"), ("run-2", "cached")):
        if run_id != RUN:
            ingest(root, run_id=run_id)
        capfd.readouterr()
        run(root, node, run_id=run_id)
        assert dict(OUTCOMES.findall(capfd.readouterr().out)) == {node: status}
        end(root, run_id)
    (made,) = root.glob(f"{node}/examples/*")
    assert sorted(path.name for path in made.iterdir()) == ["Split-eval", "Split-test", "Split-train"]


def test_a_node_without_a_plan_says_which_volume(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(tmp_path / "nowhere", "Trainer")
    assert ended.value.code == 2
    assert "did the task Ingest write to the same volume?" in capfd.readouterr().out.splitlines()[-1]


def test_a_failed_node_ends_its_task_with_one_clear_error(
    planned: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(planned, "ImportSchemaGen", "DataGate")
    assert ended.value.code == 1
    said = capfd.readouterr().out.strip().splitlines()
    # Kubeflow drops what the task has written of the node that ran.
    pages = planned / "runs" / RUN / "pages"
    assert f"  pages       {pages}" in said
    assert "ImportSchemaGen" in (pages / "ImportSchemaGen.html").read_text(encoding="utf-8")
    assert not (pages / "DataGate.html").exists()
    assert said[-1] == (
        "mirante: DataGate failed: RuntimeError: DataGate: its inputs could not be resolved "
        "(the whole story is above)"
    ), said[-5:]
