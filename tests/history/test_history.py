"""`mirante runs` and `mirante compare`, on what runs leave in their folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from components.base.errors import UsageError
from components.base.table import format_table
from pipeline.commands.main import main
from pipeline.history.compare import Pair, compare_runs
from pipeline.history.runs import PastRun, choose_run, list_runs

pytestmark = pytest.mark.stack_free

COLUMNS = ("image", "true_class", "predicted_class", "score")
TEST = "one test split"


def write_run(
    root: Path,
    run_id: str,
    wrong: Sequence[str] | None = (),
    *,
    test: str | None = TEST,
    epochs: int = 3,
    listed: int | None = None,
    **result: Any,
) -> PastRun:
    """Write a run of 20 test images of which those in `wrong` are wrong; a killed one if that is None."""
    folder = root / "runs" / run_id
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(f"name: pets\ntraining: {{epochs: {epochs}, seed: 1}}\n")
    if wrong is None:
        return PastRun(root, run_id, {})
    mistakes = root / "Evaluator" / run_id / "mistakes.csv"
    mistakes.parent.mkdir(parents=True)
    mistakes.write_text(
        format_table(COLUMNS, [(name, "cat", "dog", 0.9) for name in wrong]), encoding="utf-8"
    )
    told: dict[str, Any] = {
        "root": str(root),
        "wall_seconds": 61.4,
        "data": {"source": "folder", "images": {"train": 80, "test": 20}, "test_sha256": test},
        "metrics": {"accuracy": 1 - len(wrong) / 20, "loss": 0.5, "auc": 0.9},
        "blessed": True,
        "pushed_model": f"{root}/serving/1",
        "mistakes": {"images": len(wrong) if listed is None else listed, "file": str(mistakes)},
        **result,
    }
    (folder / "result.json").write_text(json.dumps(told))
    return PastRun(root, run_id, told)


def pair(*runs: PastRun) -> Pair:
    (found,) = compare_runs(runs).pairs
    return found


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "pushed"),
        ({"blessed": False, "pushed_model": None, "error": "not blessed"}, "not blessed"),
        ({"infra_blessed": False, "pushed_model": None, "error": "not blessed"}, "not blessed"),
        ({"taken_back": 3, "pushed_model": None, "error": "taken back"}, "taken back"),
        ({"pushed_model": None, "error": "interrupted; the same command continues from here"}, "interrupted"),
        ({"blessed": None, "pushed_model": None, "error": "Trainer failed"}, "failed"),
        ({"wrong": None}, "unfinished"),
    ],
)
def test_how_a_run_ended(tmp_path: Path, changes: dict[str, Any], status: str) -> None:
    assert write_run(tmp_path, "20261130T031151.131", **changes).status == status


def test_runs_of_several_roots_are_in_the_order_of_their_time(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "pets", "20261130T031151.131")
    write_run(tmp_path / "runs" / "birds", "20261129T031151.131")
    write_run(tmp_path / "runs" / "pets", "20261128T031151.131", None)
    (tmp_path / "runs" / "notes.txt").touch()
    found = list_runs([str(tmp_path / "runs"), str(tmp_path / "runs" / "pets")])
    assert [(run.root.name, run.run_id[:8]) for run in found] == [
        ("pets", "20261128"),
        ("birds", "20261129"),
        ("pets", "20261130"),
    ]
    with pytest.raises(UsageError, match=r"notes\.txt: no runs there"):
        list_runs([str(tmp_path / "runs"), str(tmp_path / "runs" / "notes.txt")])


def test_a_run_is_named_by_id_path_latest_or_pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = Path("runs/pets")
    write_run(root, "20261128T031151.131")
    write_run(root, "20261129T031151.131", pushed_model=None, blessed=False)
    for name, expected in (
        ("latest", "20261129"),
        ("pushed", "20261128"),
        ("20261128", "20261128"),
        ("runs/pets", "20261129"),
        ("runs/pets/runs/20261128T031151.131", "20261128"),
    ):
        assert choose_run(name, []).run_id.startswith(expected), name
    with pytest.raises(UsageError, match=r"202611: expected one run, but it fits .*131, .*131; give an ID"):
        choose_run("202611", [])
    with pytest.raises(
        UsageError, match=r"2025: expected one run, but there is none; .*newest here: 20261129"
    ):
        choose_run("2025", [])


def test_a_version_that_is_not_there_any_more(tmp_path: Path) -> None:
    """After a rollback, or the removal of its folder; the run that pushed it is not `pushed` any more."""
    for version, run_id in enumerate(("20261128T031151.131", "20261129T031151.131", "20261130T031151.131")):
        write_run(tmp_path, run_id, pushed_model=f"{tmp_path}/serving/{version}")

    def statuses() -> list[str]:
        return [run.status for run in list_runs([str(tmp_path)])]

    assert statuses() == ["pushed"] * 3  # the folder is out of reach
    for version in range(3):
        (tmp_path / "serving" / str(version)).mkdir(parents=True)
    assert statuses() == ["pushed"] * 3
    (tmp_path / "serving/pushes/taken-back").mkdir(parents=True)
    (tmp_path / "serving/2").rename(tmp_path / "serving/pushes/taken-back/2")
    assert choose_run("pushed", [str(tmp_path)]).run_id.startswith("20261129")
    (tmp_path / "serving/0").rmdir()
    assert statuses() == ["removed", "pushed", "taken back"]


def test_images_that_one_model_alone_gets_right(tmp_path: Path) -> None:
    first = write_run(tmp_path, "1", ["a", "b", "c"])
    other = write_run(tmp_path, "2", ["c", "d", "e", "f", "=g", "h"])
    found = pair(first, other)
    assert found.only_first_right == ["=g", "d", "e", "f", "h"]  # without the apostrophe of spreadsheets
    assert (found.only_other_right, found.both_wrong) == (["a", "b"], 1)
    # Two of seven, or fewer, or as few of the other's: 2 * (1 + 7 + 21) / 128.
    assert found.p_value == pytest.approx(58 / 128)
    # All that is wrong in one run is wrong in both, or right in the other.
    for run, alone in ((first, found.only_other_right), (other, found.only_first_right)):
        assert run.result["mistakes"]["images"] == len(alone) + found.both_wrong


def test_equal_models_do_not_differ(tmp_path: Path) -> None:
    found = pair(write_run(tmp_path, "1", ["a"]), write_run(tmp_path, "2", ["a"]))
    assert (found.only_first_right, found.only_other_right, found.both_wrong, found.p_value) == (
        [],
        [],
        1,
        1.0,
    )


def test_one_that_is_better_on_six_images_and_worse_on_none(tmp_path: Path) -> None:
    found = pair(write_run(tmp_path, "1"), write_run(tmp_path, "2", list("abcdef")))
    assert found.p_value == pytest.approx(2 / 64)


@pytest.mark.parametrize(
    ("changes", "why_not"),
    [
        ({"test": "another split"}, "tested on different images"),
        ({"test": None}, "does not say what its test images are"),
        ({"wrong": None}, "2 has no metrics"),
        ({"metrics": {"map": 0.5}}, "they are of different tasks"),
        ({"wrong": ["a"], "listed": 2}, "is gone, or not complete"),
        ({"mistakes": None}, "is gone, or not complete"),
    ],
)
def test_images_that_cannot_be_compared(tmp_path: Path, changes: dict[str, Any], why_not: str) -> None:
    found = pair(write_run(tmp_path, "1"), write_run(tmp_path, "2", **changes))
    assert why_not in found.why_not
    assert found.p_value is None


def test_a_root_that_was_moved(tmp_path: Path) -> None:
    for run_id, wrong in (("1", ["a"]), ("2", ["a", "b"])):
        write_run(tmp_path / "old", run_id, wrong)
    shutil.move(tmp_path / "old", tmp_path / "new")
    runs = list_runs([str(tmp_path / "new")])
    found = pair(*runs)
    assert (found.only_first_right, found.both_wrong) == (["b"], 1)
    (tmp_path / "new/serving/1").mkdir(parents=True)
    assert [run.pushed_model for run in runs] == [str(tmp_path / "new/serving/1")] * 2


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs/pets"), "20261128T031151.131", ["a"])
    write_run(Path("runs/pets"), "20261129T031151.131", list("abcdefgh"), epochs=9, pushed_model=None)
    write_run(Path("runs/pets"), "20261130T031151.131", None)
    listed = CliRunner().invoke(main, ["runs"], catch_exceptions=False).stdout.splitlines()
    assert listed[0].split() == ["run", "status", "took", "data", "metric", "where"]
    assert listed[1].endswith("pushed      61 s  folder, 100 images  accuracy 0.9500  runs/pets/serving/1")
    assert listed[3].split() == ["20261130T031151.131", "unfinished", "runs/pets"]
    (newest,) = json.loads(CliRunner().invoke(main, ["runs", "--last", "1", "--json"]).stdout)
    assert newest == {"run_id": "20261130T031151.131", "root": "runs/pets", "status": "unfinished"}
    compared = CliRunner().invoke(main, ["compare", "pushed", "20261129"], catch_exceptions=False).stdout
    assert "accuracy  0.9500               0.6000 (-0.3500)" in compared
    assert "  training.epochs  3  9\n" in compared
    assert "training.seed" not in compared
    assert "accuracy differs by more than chance (McNemar's exact test, p = 0.016)" in compared
    assert "  only 20261128T031151.131 gets 7 images right: b, c, d, e, f and 2 more\n" in compared
    told = json.loads(CliRunner().invoke(main, ["compare", "pushed", "20261129", "--json"]).stdout)
    assert told["metrics"]["accuracy"] == [0.95, 0.6]
    assert told["settings"] == {"training.epochs": [3, 9]}
    # A run of an earlier version has fewer settings; null and no setting at all mean the same.
    recipe = Path("runs/pets/runs/20261129T031151.131/recipe.yaml")
    recipe.write_text("name: pets\ntraining: {epochs: null, patience: null, new: 5}\n")
    told = json.loads(CliRunner().invoke(main, ["compare", "pushed", "20261129", "--json"]).stdout)
    assert told["settings"] == {
        "training.epochs": [3, None],
        "training.new": ["(absent)", 5],
        "training.seed": [1, "(absent)"],
    }
    compared = CliRunner().invoke(main, ["compare", "pushed", "20261129"], catch_exceptions=False).stdout
    assert "  training.epochs  3         null\n  training.new     (absent)  5\n" in compared
    assert told["pairs"][0]["p_value"] == pytest.approx(2 / 128)
