"""Unchanged runs on Kubeflow: which run's results they have, and when they have to look for themselves."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.base.errors import UsageError
from components.base.outcome import Output
from components.pages.rendered import ConfusionMatrix, RenderedPage, Roc
from pipeline.data.examples import Examples
from pipeline.recipe.load import load_recipe
from pipeline.run.unchanged import find_unchanged, fingerprint_run, note_pushed
from pipeline.storage.mirror import Mirror
from pipeline.targets.kubeflow.kept import PAGES, is_as_left, make_node, read_node, write_node
from pipeline.targets.kubeflow.plan import run_folder

pytestmark = pytest.mark.stack_free

NODES = ("Trainer", "InfraValidator")
MIRROR = Mirror({})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a run that pushed a model, and a run before it."""
    root = tmp_path / "root"
    (root / "runs" / "earlier").mkdir(parents=True)
    for node, channel in (("Trainer", "model"), ("InfraValidator", "blessing")):
        folder = root / node / channel / "1"
        folder.mkdir(parents=True)
        (folder / "file").write_text("content")
        outputs = {channel: Output(str(folder), {"blessed": 1})}
        write_node(run_folder(str(root), "first"), node, make_node(RenderedPage(""), outputs, MIRROR))
    note_pushed(str(root), "first", "equal", MIRROR)
    return root


def find(root: Path, run_id: str = "second", fingerprint: str | None = "equal") -> str | None:
    run_folder(str(root), run_id).mkdir(exist_ok=True)
    return find_unchanged(
        str(root), run_id, fingerprint, lambda kept: is_as_left(kept, NODES, MIRROR), MIRROR
    )


def test_an_unchanged_run_has_the_results_of_the_run_that_pushed(root: Path) -> None:
    assert find(root, "second") == "first"
    assert find(root, "second") == "first"  # its Ingest is tried again
    assert find(root, "third") == "first"


def change_file(root: Path) -> None:
    file = root / "Trainer" / "model" / "1" / "file"
    file.write_text("Content")
    os.utime(file, (1, 1))


def refuse(root: Path) -> None:
    folder = root / "InfraValidator" / "blessing" / "1"
    outputs = {"blessing": Output(str(folder), {"blessed": 0})}
    write_node(run_folder(str(root), "first"), "InfraValidator", make_node(RenderedPage(""), outputs, MIRROR))


def write_last(root: Path, **changes: object) -> None:
    file = root / "runs" / "last_pushed.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    "change",
    [
        change_file,
        refuse,
        lambda root: (root / "Trainer" / "model" / "1" / "file").unlink(),
        lambda root: shutil.rmtree(root / "runs" / "first"),
        lambda root: (root / "runs" / "first" / PAGES / "Trainer.html").unlink(),
        lambda root: (root / "runs" / "first" / PAGES / "Trainer.json").write_text("{}"),
        lambda root: (root / "runs" / "last_pushed.json").write_text("{"),
        lambda root: write_last(root, runs="earlier"),
        lambda root: write_last(root, run_id=["first"]),
        lambda root: write_last(root, runs=None),
        lambda root: write_last(root, runs=[{}]),
        lambda root: (root / "runs" / "last_pushed.json").unlink(),
        # A run of other settings, or of `mirante run`, that may have trained or failed.
        lambda root: (root / "runs" / "another").mkdir(),
    ],
)
def test_a_run_looks_for_itself_where_anything_has_changed(
    change: Callable[[Path], object], root: Path
) -> None:
    change(root)
    assert find(root) is None


@pytest.mark.parametrize("error", [None, OSError("gone"), UsageError("no such module")])
def test_a_run_during_which_something_changed_is_not_noted(error: Exception | None, root: Path) -> None:
    def take() -> str:
        if error is not None:
            raise error
        return "other"

    file = root / "runs" / "last_pushed.json"
    before = file.read_bytes()
    note_pushed(str(root), "second", "new", MIRROR, take)
    assert file.read_bytes() == before
    note_pushed(str(root), "second", "new", MIRROR, lambda: "new")
    assert json.loads(file.read_bytes())["run_id"] == "second"


class FakeBucket(Mirror):
    """A bucket of outputs; everything else is on a volume."""

    def __init__(self, folder: Path) -> None:
        super().__init__({})
        self.folder = str(folder)
        self.objects = {"model/1/saved_model.pb": 1, "model/1/variables/variables.index": 1}

    def copies(self, path: str) -> bool:
        return path.startswith(self.folder)

    def times(self, path: str) -> dict[str, int]:
        below = f"{path.removeprefix(self.folder).strip('/')}/"
        return {name.removeprefix(below): t for name, t in self.objects.items() if name.startswith(below)}


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"model/1/saved_model.pb": 2}, False),
        ({"model/1/saved_model.pb": None}, False),
        ({"model/1/saved_model.pb": None, "model/1/variables/variables.index": None}, False),
        ({"model/2/saved_model.pb": 1}, True),
    ],
)
def test_an_object_that_was_written_anew_or_removed_is_a_change(
    root: Path, changed: dict[str, int | None], same: bool
) -> None:
    bucket = FakeBucket(root.parent / "s3")
    # Of a node that found nothing, such as a baseline in the first run, there is nothing.
    outputs = {"model": Output(f"{bucket.folder}/model/1", {}), "none": Output(f"{bucket.folder}/none", {})}
    write_node(run_folder(str(root), "first"), "Trainer", make_node(RenderedPage(""), outputs, bucket))
    bucket.objects = {n: t for n, t in {**bucket.objects, **changed}.items() if t is not None}
    run_folder(str(root), "second").mkdir()
    found = find_unchanged(str(root), "second", "equal", lambda kept: is_as_left(kept, NODES, bucket), bucket)
    assert found == ("first" if same else None)


def test_a_run_looks_for_itself_where_the_last_one_decided_by_something_else(root: Path) -> None:
    assert find(root, fingerprint="other") is None
    assert find(root, "third", fingerprint=None) is None


def test_a_node_is_kept_with_all_that_kubeflow_is_shown(tmp_path: Path) -> None:
    page = RenderedPage(
        "<p>Größe</p>",
        {"accuracy": 0.5},
        ConfusionMatrix(("Käfer", "b"), [[1, 2], [3, 4]]),
        Roc([0.0], [1.0], [0.5], "Käfer"),
    )
    properties = {"blessed": 1, "loss": math.inf, "structure": object()}
    record = make_node(page, {"blessing": Output(str(tmp_path / "none"), properties)}, MIRROR)
    write_node(tmp_path, "Evaluator", record)
    read = read_node(tmp_path, "Evaluator")
    assert (read.page.html, read.page.metrics, read.page.roc) == (page.html, page.metrics, page.roc)
    assert read.page.confusion is not None
    assert list(read.page.confusion.class_names) == ["Käfer", "b"]
    assert read.outputs == {"blessing": Output(str(tmp_path / "none"), {"blessed": 1, "loss": math.inf})}
    assert read.files == {}


def test_the_fingerprint_is_of_all_that_decides_the_results(tmp_path: Path) -> None:
    weights, schema = tmp_path / "weights.h5", tmp_path / "schema.pbtxt"
    weights.write_text("1")
    schema.write_text("feature {}")
    examples = Examples(tmp_path, {"train": "train-*"}, ("a", "b"), content="1")

    def fingerprint(*overrides: str, of: Examples = examples) -> str | None:
        given = ["model.name=mobilenet_v2", "transform.channels=3", "transform.height_px=64"]
        given += ["transform.width_px=64", "transform.normalization=minus_one_one"]
        recipe = load_recipe("digits", [*given, *overrides], elsewhere=True)
        return fingerprint_run(recipe, of, schema, str(tmp_path), str(tmp_path / "serving"))

    first = fingerprint()
    assert first is not None
    assert fingerprint() == first
    assert fingerprint("kubeflow.defaults={cpu: 2}", "kubeflow.together=[]") == first
    assert fingerprint("beam={engine: spark, endpoint: 'localhost:8099'}") == first
    others = [
        fingerprint("training.epochs=2"),
        fingerprint("kubeflow.metadata={type: mysql, host: db}"),
        fingerprint(of=dataclasses.replace(examples, content="2")),
        fingerprint(f"model.weights={weights}"),
    ]
    weights.write_text("2")
    others.append(fingerprint(f"model.weights={weights}"))
    schema.write_text("feature { }")
    others.append(fingerprint())
    assert len({first, *others}) == 1 + len(others)
    assert fingerprint("use_cache=false") is None
    warm = "training.warm_start={from: latest_blessed, fine_tune_checkpoint_type: classification}"
    assert fingerprint(warm) is None
