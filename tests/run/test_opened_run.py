"""`open_run`: a run in a notebook."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.base.errors import MiranteError, UsageError
from pipeline.api import open_run
from tests.make.images import make_png
from tests.make.runs import RUN_ID, make_run

pytestmark = pytest.mark.stack_free

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    labels, answers = [0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]
    (tmp_path / "sample.png").write_bytes(make_png(0))
    make_run(
        tmp_path,
        ("größe", EVIL),
        labels,
        answers,
        per_class={"größe": {"precision": 0.5, "auc": None}, EVIL: {"precision": 1.0, "auc": 1.0}},
        mistakes={"images": 1, "file": str(tmp_path / "evaluation" / "mistakes.csv")},
        sample_image=str(tmp_path / "sample.png"),
        pushed_model=str(tmp_path / "serving" / "1"),
    )
    return tmp_path


@pytest.mark.parametrize("name", ["latest", "pushed", RUN_ID, RUN_ID[:6]])
def test_a_run_is_found_as_the_commands_find_it(root: Path, name: str) -> None:
    run = open_run(name, [root])
    assert (run.run_id, run.root, run.status) == (RUN_ID, root, "pushed")
    assert open_run(root).run_id == open_run(run.folder).run_id == RUN_ID


def test_a_run_that_is_not_there_is_an_error(root: Path) -> None:
    with pytest.raises(UsageError, match="expected one run, but there is none"):
        open_run("2027", [root])


def test_its_numbers_images_and_artifacts(root: Path) -> None:
    run = open_run(root)
    assert run.metrics["accuracy"] == pytest.approx(2 / 3)
    assert run.settings["training.epochs"] == 3
    assert list(run.per_class.index) == ["größe", EVIL]
    assert run.per_class.loc["größe", "precision"] == 0.5
    assert pd.isna(run.per_class.loc["größe", "auc"])
    assert run.mistakes["predicted_class"].tolist() == ["größe"]
    assert run.artifacts["Evaluator.evaluation"].uri == str(root / "evaluation")
    assert list(run.images) == ["sample", "Evaluator/mistakes/0.png"]
    assert run.image("sample").size[0] > 0
    with pytest.raises(UsageError, match="expected one of the run's, got 'sampel': did you mean 'sample'"):
        run.image("sampel")
    assert repr(run).startswith(f"<run {RUN_ID} of {root}: pushed, accuracy 0.6667")
    assert "0.6667" in run._repr_html_()


def test_its_page_is_in_a_frame_and_cannot_leave_it(root: Path) -> None:
    run = open_run(root)
    made = run.show(height_px=300).data
    assert "height:300px" in made
    assert EVIL not in made
    assert made.count("<iframe") == 1
    (run.folder / "report.html").write_text('<p title="a">kept</p>', encoding="utf-8")
    assert "&lt;p title=&quot;a&quot;&gt;kept" in run.show().data


def test_a_run_that_failed_has_no_tables(tmp_path: Path) -> None:
    make_run(tmp_path, ("cat", "dog"), error="Trainer: no")
    run = open_run(tmp_path)
    assert (run.status, run.model, run.metrics, run.images) == ("failed", None, {}, {})
    assert len(run.per_class) == len(run.mistakes) == 0
    assert repr(run) == f"<run {RUN_ID} of {tmp_path}: failed>"


def test_without_pandas_tables_are_lists_and_without_ipython_there_is_no_frame(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def refuse(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] in ("pandas", "IPython"):
            raise ImportError(name)
        return imported(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    run = open_run(root)
    assert run.per_class[0] == {"class": "größe", "precision": 0.5, "auc": None}
    assert run.mistakes[0]["true_class"] == EVIL
    with pytest.raises(MiranteError, match="IPython, which is not installed"):
        run.show()


@pytest.mark.slow  # starts a Jupyter kernel
def test_a_notebook_shows_it(root: Path) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cells = [f"from pipeline.api import open_run\nrun = open_run({str(root)!r})\nrun"]
    cells += ["run.per_class", "run.image('sample')", "run.show()", "import sys; 'tensorflow' in sys.modules"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": sys.executable,
        "language": "python",
    }
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [cell.outputs[0]["data"] for cell in notebook.cells]
    assert "<th>accuracy</th><td>0.6667</td>" in shown[0]["text/html"]
    assert "<table" in shown[1]["text/html"]
    assert "image/png" in shown[2]
    assert "<iframe" in shown[3]["text/html"]
    assert shown[4]["text/plain"] == "False"
