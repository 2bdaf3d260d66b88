"""A whole run whose root and data have names that libraries read as something else."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from components.ingest import IngestConfig, ingest
from tests.base.test_owned import tree
from tests.failures import run

SETTINGS = ("--set", "training.epochs=1", "--set", "evaluation.thresholds={accuracy: 0.0}")


@pytest.mark.slow
def test_a_run_below_names_like_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    here = tmp_path / "a [é]*"
    here.mkdir()
    data = here / "-d{x}?[1] %23#"
    ingest("digits", None, data, IngestConfig())
    # What the names would match as patterns, and what a user has in the root.
    neighbours = tmp_path / "a é"
    for name in ("root1", "-dx1"):
        shutil.copytree(data, neighbours / name / "ImportExampleGen" / "examples" / "1" / "Split-train")
    root = here / "root[1]"
    (root / "data" / "span-1").mkdir(parents=True)
    (root / "data" / "span-1" / "mine").write_text("mine")
    (root / "checkpoints" / "mine").mkdir(parents=True)
    (root / ".tmp").mkdir()
    (root / ".tmp" / "mine").write_text("mine")
    before = tree(neighbours), tree(data), tree(root)
    command = shlex.join(["mirante", "run", "digits", "--data", str(data), "--root", str(root), *SETTINGS])
    first = run(command, tmp_path, runs_nodes=True)
    assert first.code == 0, first.stderr
    assert first.json["pushed_model"].startswith(f"{root}/serving/")
    assert Path(first.json["pushed_model"], "saved_model.pb").is_file()
    assert {outcome["status"] for outcome in first.json["components"].values()} == {"completed"}
    again = run(command, tmp_path, runs_nodes=True)
    assert {outcome["status"] for outcome in again.json["components"].values()} == {"cached"}
    assert (tree(neighbours), tree(data)) == before[:2]
    assert before[2].items() <= tree(root).items()
    assert not list(root.glob(".tmp-*"))
