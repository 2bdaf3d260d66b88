"""The functions for Python and notebooks; tests/run/test_digits.py runs the example of the documentation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.base.errors import UsageError
from pipeline.api import load_run, predict, read_result
from pipeline.recipe.load import RECIPES
from tests.make.folders import write_photos

pytestmark = pytest.mark.stack_free


def test_importing_it_loads_nothing_heavy() -> None:
    script = (
        "import sys, pipeline.api; "
        "print({'tensorflow', 'tfx', 'apache_beam', 'keras', 'numpy'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_a_run_is_checked_before_it_starts(tmp_path: Path) -> None:
    recipe, root = load_run("digits", ["training.epochs=3"], root=tmp_path / "root")
    assert (recipe.training.epochs, root) == (3, tmp_path / "root")
    assert not root.exists()
    with pytest.raises(UsageError, match="did you mean 'digits'"):
        load_run("digitz")


def test_options_of_ingest_for_ingested_data_are_found_in_a_mapping(tmp_path: Path) -> None:
    (tmp_path / "train-00000-of-00001").touch()
    for given in ("data.resize_px=64", f"data={{resize_px: 64, path: {tmp_path}}}"):
        with pytest.raises(
            UsageError, match=r"^--set data\.resize_px: it has no effect, .* is ingested already"
        ):
            load_run("folder", ["model.weights=null", given], tmp_path, tmp_path / "root")


def test_paths_may_begin_with_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.yaml").write_text(
        "name: mine\n" + (RECIPES / "folder.yaml").read_text().partition("name: folder\n")[2]
    )
    photos = write_photos(tmp_path)
    for recipe, data in (("~/my.yaml", "~/photos"), (tmp_path / "my.yaml", photos)):
        loaded, root = load_run(recipe, ["model.weights=null"], data, "~/root")
        assert (loaded.name, loaded.data.path, root) == ("mine", str(photos), tmp_path / "root")
    for model in ("~/no model", Path("~/no model")):
        with pytest.raises(UsageError, match=f"{tmp_path}/no model: no model there"):
            predict(model, ["~/a.png"])


def test_the_result_of_the_newest_run_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"expected a run with a result\.json, got none"):
        read_result(tmp_path)
    for run_id, accuracy in (("20261130T090000.000", 0.5), ("20261130T100000.000", 0.75)):
        folder = tmp_path / "runs" / run_id
        folder.mkdir(parents=True)
        result = {
            "pipeline": "digits",
            "run_id": run_id,
            "root": "r",
            "metrics": {"accuracy": accuracy},
            "new": 1,
        }
        (folder / "result.json").write_text(json.dumps(result))
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert read_result(f"~/{tmp_path.name}").metrics["accuracy"] == 0.75
    assert read_result("${HOME}/" + tmp_path.name).metrics["accuracy"] == 0.75
    with pytest.raises(UsageError, match=r"root: the environment variable NO_SUCH of .* is not set"):
        read_result("${NO_SUCH}/x")
    assert read_result(tmp_path).metrics["accuracy"] == 0.75
    assert read_result(tmp_path, "20261130T090000.000").metrics["accuracy"] == 0.5
