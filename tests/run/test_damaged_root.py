"""A finished root whose files are damaged: each run finds what it would hand on, and makes it anew."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from components.base import serving_folder
from components.base.errors import MiranteError
from components.base.outcome import RunResult
from pipeline.commands.main import main
from pipeline.recipe.load import load_recipe
from pipeline.storage.metadata_store import METADATA_FILE
from pipeline.targets import local
from pipeline.targets.local import run
from tests.make import records
from tests.make.commands import unwrap

pytestmark = pytest.mark.slow

SMALL = (
    "data.source=tfrecord",
    "data.min_test_images=0",
    "transform.channels=3",
    "training.epochs=1",
)
BOUNDS = "evaluation.thresholds={accuracy: 0.0}", "evaluation.max_regression={}"


def newest(paths: Iterable[Path]) -> Path:
    return max(paths, key=lambda path: path.stat().st_mtime_ns)


class Root:
    """A pipeline root, and runs of a small recipe under it."""

    def __init__(self, folder: Path):
        self.folder = folder / "root"
        self._data = folder / "shards"
        splits = {
            split: records.make_examples(30, 100 * n) for n, split in enumerate(("train", "eval", "test"))
        }
        records.write_shards(self._data, splits)

    def run(self, *settings: str) -> tuple[RunResult, str]:
        """Run to the end; return the result and what was said."""
        recipe = load_recipe("digits", [*SMALL, *BOUNDS, *settings], str(self._data))
        said = io.StringIO()
        result, error = run(recipe, self.folder, Console(file=said, width=500))
        assert error is None, said.getvalue()
        return result, unwrap(said.getvalue())

    def run_without_tensorflow(self, *settings: str) -> tuple[dict[str, Any], str]:
        """Run as a program that cannot import TensorFlow; return its JSON and what was said."""
        forbidden = self.folder.with_name("forbidden")
        forbidden.mkdir()
        (forbidden / "tensorflow.py").write_text("raise ImportError('not in an unchanged run')")
        given = [word for setting in (*SMALL, *BOUNDS, *settings) for word in ("--set", setting)]
        program = Path(sys.executable).with_name("mirante")
        command = [str(program), "run", "digits", "--json", "--data", str(self._data)]
        done = subprocess.run(
            [*command, "--root", str(self.folder), *given],
            env={**os.environ, "PYTHONPATH": str(forbidden)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stderr

    def versions(self) -> dict[int, str]:
        return serving_folder.list_versions(str(self.folder / "serving"))


def executed(result: RunResult) -> list[str]:
    return [node for node, outcome in result.components.items() if outcome["status"] != "cached"]


def test_damage_in_a_finished_root_is_found_and_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Root(tmp_path)
    first, _ = root.run()
    assert (first.blessed, len(root.versions())) == (True, 1)

    # The served model: pushed again as a version above, from the Trainer's output.
    version, path = next(iter(root.versions().items()))
    os.truncate(next(Path(path).glob("variables/variables.data*")), 100)
    again, said = root.run()
    assert executed(again) == ["Pusher"]
    assert f"{path} is not what was pushed any more" in said
    assert len(root.versions()) == 2
    highest = max(root.versions())
    assert highest > version
    assert serving_folder.find_damage(str(root.folder / "serving"), highest) is None
    assert again.metrics == first.metrics

    # The Trainer's output, and a setting of a node that reads it.
    os.truncate(newest(root.folder.glob("Trainer/model/*/Format-Serving/variables/variables.data*")), 1000)
    other = "evaluation.thresholds={accuracy: 0.01}"
    again, said = root.run(other)
    assert executed(again) == ["Trainer", "InfraValidator", "Resolver", "Evaluator", "Pusher"]
    assert "variables.data-00000-of-00001 has 1,000 bytes, and " in said
    assert again.metrics == pytest.approx(first.metrics)

    # The examples, and a setting of the Trainer.
    os.truncate(newest(root.folder.glob("ImportExampleGen/examples/*/Split-train/*")), 100)
    again, said = root.run(other, "training.epochs=2")
    assert {"ImportExampleGen", "Transform", "Trainer"} <= set(executed(again))
    assert "ImportExampleGen: " in said
    assert " has 100 bytes, and " in said

    versions = root.versions()
    last, said = root.run_without_tensorflow(other, "training.epochs=2")
    assert {node["status"] for node in last["components"].values()} == {"cached"}
    assert list(last["components"]) == list(again.components)
    assert "nothing changed" in said
    found = dataclasses.asdict(again)
    for key in ("metrics", "per_class", "pushed_model", "data", "test_images", "mistakes", "warnings"):
        assert last[key] == found[key], key
    assert root.versions() == versions

    # What the root can do without goes: among others the first Trainer's model, and the checkpoints.
    said = CliRunner().invoke(main, ["clean", str(root.folder), "--delete"]).output
    assert said.splitlines()[-1].endswith(" removed")
    assert list(root.folder.glob("checkpoints/*")) == []
    assert executed(root.run(other, "training.epochs=2")[0]) == []
    assert root.versions() == versions

    # Metadata that were taken back may not know the last run: TFX's cache decides.
    (root.folder / METADATA_FILE).unlink()
    loaded = []

    def load(*_: object) -> None:
        loaded.append(True)
        raise MiranteError("far enough")

    monkeypatch.setattr(local, "_load_nodes", load)
    with pytest.raises(AssertionError, match="the copy that the last run made was taken back"):
        root.run(other, "training.epochs=2")
    assert loaded
