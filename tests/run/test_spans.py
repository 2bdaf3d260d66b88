"""Data that arrive a span at a time, as a recurring run sees them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from components.base.serving_folder import list_versions
from tests.make.quick import quick_python

pytestmark = pytest.mark.slow

# All runs in one process.
RUNS = """
import dataclasses, io, json, shutil, sys
from pathlib import Path
from rich.console import Console
from pipeline.data import prepare as data
from pipeline.targets import local as run
from pipeline.recipe.load import load_recipe

# A model that has learned next to nothing, which no bound but max_regression refuses.
UNTRAINED = (
    "training.warm_start=null",
    "training.epochs=1",
    "training.learning_rate=1.0e-9",
    "evaluation={thresholds: {accuracy: 0.0}, max_regression: {accuracy: 0.2}, refuse_trivial: false}",
)
OTHER_CLASSES = ("training.warm_start.fine_tune_checkpoint_type=classification",)
here, overrides = Path(sys.argv[1]), sys.argv[2:]
for number in range(5):
    if number >= 2 and (incoming := here / f"incoming-{number}").is_dir():
        incoming.rename(here / "photos" / f"span-{number}")
    changed = {3: UNTRAINED, 4: OTHER_CLASSES}.get(number, ())
    recipe = load_recipe("digits", (*overrides, *changed), str(here / "photos" / "span-{SPAN}"))
    data.check_config(recipe.data)
    said = io.StringIO()
    result, error = run.run(recipe, here / "root", Console(file=said, width=300))
    told = {"said": " ".join(said.getvalue().split()), "raised": repr(error)}
    told["exit_code"] = getattr(error, "exit_code", 0)
    print(json.dumps({**dataclasses.asdict(result), **told}), flush=True)
"""
OVERRIDES = (
    "data.source=folder",
    "training.epochs=6",
    "training.warm_start.from=latest_blessed",
    "evaluation={thresholds: {accuracy: 0.8}, max_regression: {accuracy: 0.2}}",
)


def write_digits(folder: Path, first: int, classes: Sequence[int] = (0, 1)) -> None:
    """Write eighty images of each class, from number `first`."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for label in classes:
        (folder / str(label)).mkdir(parents=True)
        for number, pixels in enumerate(digits.images[digits.target == label][first : first + 80]):
            Image.fromarray((pixels * 15.9375).astype("uint8")).save(folder / str(label) / f"{number}.png")


def artifacts(root: Path, kind: str) -> list[Any]:
    """All artifacts of a type, the oldest first."""
    from ml_metadata.metadata_store import MetadataStore

    from pipeline.storage.metadata_store import sqlite_store

    return sorted(MetadataStore(sqlite_store(root)).get_artifacts_by_type(kind), key=lambda item: item.id)


def read_by_evaluators(root: Path) -> list[dict[str, int]]:
    """Ids of the artifacts that each Evaluator that ran was given, by its names for them."""
    from ml_metadata.metadata_store import MetadataStore
    from ml_metadata.proto import metadata_store_pb2

    from pipeline.storage.metadata_store import sqlite_store

    store = MetadataStore(sqlite_store(root))
    executions = store.get_executions_by_type("components.evaluator.component.Evaluator")
    return [
        {
            event.path.steps[0].key: event.artifact_id
            for event in store.get_events_by_execution_ids([execution.id])
            if event.type == metadata_store_pb2.Event.INPUT
        }
        for execution in sorted(executions, key=lambda item: item.id)
        if execution.last_known_state == metadata_store_pb2.Execution.COMPLETE
    ]


def test_a_recurring_run_trains_on_what_is_new_alone(tmp_path: Path) -> None:
    write_digits(tmp_path / "photos" / "span-1", 0)
    # Some images of the first span are in the second one, too.
    write_digits(tmp_path / "incoming-2", 60)
    # Then there is a class that the served model does not know.
    write_digits(tmp_path / "incoming-3", 60, (0, 1, 2))
    done = subprocess.run(
        [quick_python(), "-c", RUNS, str(tmp_path), *OVERRIDES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second, third, untrained, fifth = map(json.loads, done.stdout.splitlines())
    root = tmp_path / "root"
    assert [run["raised"] for run in (first, second, third)] == ["None"] * 3, third["said"]
    assert [run["span"] for run in (first, second, third)] == [1, 1, 2]
    statuses = [{node["status"] for node in run["components"].values()} for run in (first, second, third)]
    assert statuses[:2] == [{"completed"}, {"cached"}]
    # The classes are as before, and so is the schema.
    executed = {name for name, node in third["components"].items() if node["status"] == "completed"}
    assert third["components"].keys() - executed == {"ImportSchemaGen"}
    assert f"span 2 of {tmp_path}/photos/span-{{SPAN}}" in third["said"]

    pushed = [run["pushed_model"] for run in (first, second, third)]
    assert pushed[0] == pushed[1] != pushed[2]
    assert first["baseline"]["note"].startswith("none: first model, nothing is served in ")
    assert second["baseline"]["note"] == f"none: first model, served as version {Path(pushed[0]).name}"
    assert third["baseline"]["model"] == pushed[0]
    assert set(third["baseline"]["metrics"]) == set(third["metrics"])
    assert f"baseline version {Path(pushed[0]).name} ({pushed[0]})" in third["said"]
    assert third["baseline"]["common_classes"] is None

    for run in (untrained, fifth):
        served = Path(pushed[2]).name
        note = "new: 2; compared on the 2 common classes: 0, 1"
        assert f"baseline version {served} ({note})" in run["said"]
        assert (
            f"version {served} knows other classes (new: 2): evaluation.max_regression compares"
            in run["said"]
        )
        common = run["baseline"]["common_classes"]
        assert common["class_names"] == ["0", "1"]
        # About two thirds of the test split: the classes are of equal size, its images chosen by chance.
        assert 0 < common["test_images"] < run["test_images"]
        assert f"2 of 3, {common['test_images']} test images" in run["said"]
        assert common["baseline"]["accuracy"] > 0.9
        assert run["baseline"]["metrics"] == {}
    assert (untrained["pushed_model"], untrained["exit_code"]) == (None, 4)
    assert untrained["raised"].startswith(
        "NotBlessedError('the model is not blessed: accuracy on the 2 common "
    )
    assert "classes (0, 1; " in untrained["raised"]
    assert "changed by -0." in untrained["raised"]
    assert fifth["raised"] == "None", fifth["said"]
    assert fifth["baseline"]["common_classes"]["metrics"]["accuracy"] > 0.8
    assert len(list_versions(str(root / "serving"))) == 3
    assert [path.name for path in (root / "data").iterdir()] == ["span-3"]

    # The lineage: which span was read, which model was the baseline, and which one was gone on with.
    examples = artifacts(root, "Examples")
    assert [item.custom_properties["span"].int_value for item in examples] == [1, 2, 3]
    models = artifacts(root, "Model")
    assert len(models) == 4
    evaluated = read_by_evaluators(root)
    assert ["baseline_model" in each for each in evaluated] == [False, True, True, True]
    assert [each["baseline_model"] for each in evaluated[2:]] == [models[1].id] * 2
    assert evaluated[1]["baseline_model"] == models[0].id
    assert (evaluated[1]["examples"], evaluated[1]["model"]) == (examples[1].id, models[1].id)
    (report,) = Path(models[1].uri).parent.parent.glob(f"model_run/{Path(models[1].uri).name}/warm_start.txt")
    assert "loaded" in report.read_text(encoding="utf-8")

    # TFX's own resolver of spans finds its way.
    from tfx.dsl.input_resolution.strategies.span_range_strategy import SpanRangeStrategy
    from tfx.proto import range_config_pb2
    from tfx.types import standard_artifacts

    wrapped = []
    for item in examples:
        wrapped.append(standard_artifacts.Examples())
        wrapped[-1].set_mlmd_artifact(item)
    newest = range_config_pb2.RangeConfig(rolling_range=range_config_pb2.RollingRange(num_spans=1))
    strategy = SpanRangeStrategy(newest)
    found = strategy.resolve_artifacts(None, {"examples": wrapped})
    assert [item.id for item in found["examples"]] == [examples[2].id]
