"""`mirante clean`: what a root can do without goes, and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from components.base.owned import mark
from pipeline.commands.main import main
from pipeline.storage.metadata_store import sqlite_store
from pipeline.storage.root_lock import lock_root

Artifact, Event, Execution = (
    metadata_store_pb2.Artifact, metadata_store_pb2.Event, metadata_store_pb2.Execution,
)  # fmt: skip


class Root:
    """A root with a Trainer's and an Evaluator's outputs of some runs, as TFX has them."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        self.store = MetadataStore(sqlite_store(folder))
        self._type = self.store.put_execution_type(metadata_store_pb2.ExecutionType(name="Node"))
        self._kinds = {
            kind: self.store.put_artifact_type(metadata_store_pb2.ArtifactType(name=kind))
            for kind in ("Model", "ModelBlessing")
        }

    def _context(self, kind: str, name: str) -> int:
        found = self.store.get_context_by_type_and_name(kind, name)
        if found is not None:
            return int(found.id)
        number = self.store.put_context_type(metadata_store_pb2.ContextType(name=kind))
        return int(self.store.put_contexts([metadata_store_pb2.Context(type_id=number, name=name)])[0])

    def add(
        self,
        run: str,
        node: str,
        *,
        reads: int | None = None,
        cached: int | None = None,
        state: int = Execution.COMPLETE,
    ) -> int:
        """Add an execution with a new output of 1 MB, or a cached one; return the output's id."""
        execution = Execution(type_id=self._type, last_known_state=Execution.CACHED if cached else state)
        contexts = [self._context("pipeline_run", run), self._context("node", f"digits.{node}")]
        (number,) = self.store.put_executions([execution])
        output = cached
        if output is None:
            key, kind = ("model", "Model") if node == "Trainer" else ("blessing", "ModelBlessing")
            place = self.folder / node / key / str(number)
            (place / "Format-Serving").mkdir(parents=True)
            (place / "Format-Serving" / "fingerprint.pb").write_text(f"model {number}")
            (place / "data").write_bytes(b"\0" * 1_000_000)
            made = Artifact(type_id=self._kinds[kind], uri=str(place), state=Artifact.LIVE)
            if reads is not None:
                made.custom_properties["current_model_id"].int_value = reads
            (output,) = self.store.put_artifacts([made])
        events = [(output, Event.OUTPUT), *([(reads, Event.INPUT)] if reads is not None else [])]
        for artifact, kind in events:
            event = Event(artifact_id=artifact, execution_id=number, type=kind)
            event.path.steps.add().key = "model"
            self.store.put_events([event])
        associations = [
            metadata_store_pb2.Association(execution_id=number, context_id=context) for context in contexts
        ]
        self.store.put_attributions_and_associations([], associations)
        return int(output)

    def result(self, run: str, version: int, model: int | None) -> None:
        """Write what a run pushed."""
        folder = self.folder / "runs" / run
        folder.mkdir(parents=True)
        pushed = self.folder / "serving" / str(version)
        if model is not None:
            pushed.mkdir(parents=True)
            uri = self.store.get_artifacts_by_id([model])[0].uri
            (pushed / "fingerprint.pb").write_bytes(
                (Path(uri) / "Format-Serving" / "fingerprint.pb").read_bytes()
            )
        (folder / "result.json").write_text(json.dumps({"pushed_model": str(pushed) if model else None}))

    def clean(self, *options: str) -> tuple[int, str]:
        told = CliRunner().invoke(main, ["clean", str(self.folder), *options])
        return told.exit_code, told.output

    def listed(self) -> set[str]:
        """Return the folders that would be removed, below the root."""
        code, said = self.clean("--json")
        assert code == 0, said
        return {os.path.relpath(item["path"], self.folder) for item in json.loads(said)["folders"]}

    def files(self) -> set[str]:
        return {
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and "sqlite" not in path.name and path.name != ".lock"
        }


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Four runs: the first model is served, the second is not, the third is, the fourth was refused."""
    root = Root(tmp_path / "my root")
    for run, version in (("1", 11), ("2", 0), ("3", 13), ("4", 0)):
        model = root.add(run, "Trainer")
        root.add(run, "Evaluator", reads=model)
        root.result(run, version, model if version else None)
    return root


def test_the_newest_run_the_last_push_and_served_models_stay(root: Root) -> None:
    # Executions count on: the Trainer's are 1, 3, 5 and 7.
    expected = {"Evaluator/blessing/2", "Trainer/model/3", "Evaluator/blessing/4"}
    assert root.listed() == expected
    before = root.files()
    code, said = root.clean()
    assert (code, root.files()) == (0, before)
    assert "3.0 MB  in 3 folders can be removed" in said
    assert said.splitlines()[-1].endswith(f"clean '{root.folder}' --delete")
    code, said = root.clean("--delete")
    assert "3.0 MB  in 3 folders removed" in said
    gone = {name for name in before if name.rpartition("/")[0].removesuffix("/Format-Serving") in expected}
    assert len(gone) == 6
    assert root.files() == before - gone
    states = {Path(item.uri).parts[-1]: item.state for item in root.store.get_artifacts()}
    assert states == {
        **dict.fromkeys("15678", Artifact.LIVE),
        **dict.fromkeys("234", Artifact.DELETED),
    }
    assert root.listed() == set()


def test_what_the_newest_run_took_from_the_cache_stays(root: Root) -> None:
    (second,) = (item.id for item in root.store.get_artifacts() if item.uri.endswith("/model/3"))
    root.add("5", "Trainer", cached=second)
    # The run without a push before it goes instead.
    assert root.listed() == {f"Evaluator/blessing/{number}" for number in (2, 4, 8)} | {"Trainer/model/7"}


@pytest.mark.parametrize("damage", [{}, {"outputs": {"Trainer": []}}, {"outputs": 1}])
def test_what_an_unchanged_run_names_stays(damage: dict[str, Any], root: Root) -> None:
    # ML Metadata does not know such a run.
    folder = root.folder / "runs" / "5"
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps({"pushed_model": None}))
    outputs = {"Trainer": {"model": {"uri": "/before it was moved/Trainer/model/3", "properties": {}}}}
    (folder / "record.json").write_text(json.dumps({"outputs": outputs, **damage}))
    kept = set() if damage else {"Trainer/model/3"}
    assert root.listed() == {"Evaluator/blessing/2", "Trainer/model/3", "Evaluator/blessing/4"} - kept


def test_lists_of_mistakes_stay_to_be_compared(root: Root) -> None:
    result = root.folder / "runs" / "2" / "result.json"
    place = root.folder / "Evaluator" / "blessing" / "4"  # before the root was moved
    result.write_text(json.dumps({"mistakes": {"images": 1, "file": f"/moved{place}/mistakes.csv"}}))
    assert root.listed() == {"Evaluator/blessing/2", "Trainer/model/3"}


def test_served_models_stay_in_a_root_that_was_moved(root: Root) -> None:
    root.folder = root.folder.rename(root.folder.with_name("moved"))
    assert root.listed() == {"Evaluator/blessing/2", "Trainer/model/3", "Evaluator/blessing/4"}


@pytest.mark.parametrize("place", ["other serving/12", "serving/pushes/taken-back/12"])
def test_what_any_run_has_pushed_stays(root: Root, place: str) -> None:
    """The second run pushed to another folder, or its version was taken back."""
    pushed = root.folder / place
    pushed.mkdir(parents=True)
    made = root.folder / "Trainer" / "model" / "3" / "Format-Serving" / "fingerprint.pb"
    (pushed / "fingerprint.pb").write_bytes(made.read_bytes())
    push = Artifact(type_id=root.store.put_artifact_type(metadata_store_pb2.ArtifactType(name="PushedModel")))
    push.custom_properties["pushed_destination"].string_value = str(pushed)
    root.store.put_artifacts([push])
    assert root.listed() == {"Evaluator/blessing/2", "Evaluator/blessing/4"}
    (root.folder / "runs" / "2" / "result.json").write_text(
        json.dumps({"pushed_model": str(pushed), "root": str(root.folder)})
    )
    push.id = root.store.get_artifacts_by_type("PushedModel")[0].id
    del push.custom_properties["pushed_destination"]
    root.store.put_artifacts([push])
    root.folder = root.folder.rename(root.folder.with_name("moved"))
    assert root.listed() == {"Evaluator/blessing/2", "Evaluator/blessing/4"}


def test_what_mirante_did_not_make_stays(root: Root) -> None:
    folder = root.folder
    for name in (
        "Trainer/model/99",
        "Trainer/notes/3x",
        "Trainer/mine/3",
        "checkpoints/mine",
        "other/model/3",
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").touch()
    (folder / "Evaluator" / "blessing" / "3").symlink_to(folder / "other")  # an id, but no folder
    assert root.listed() == {"Evaluator/blessing/2", "Trainer/model/3", "Evaluator/blessing/4"}


def test_checkpoints_stay_while_a_training_is_not_done(root: Root) -> None:
    checkpoints = root.folder / "checkpoints"
    for number, name in enumerate(("old", "new")):
        mark(checkpoints / name, name)
        os.utime(checkpoints / name, (number, number))
    assert {name for name in root.listed() if name.startswith("check")} == {
        "checkpoints/old",
        "checkpoints/new",
    }
    root.add("5", "Trainer", state=Execution.FAILED)
    assert {name for name in root.listed() if name.startswith("check")} == {"checkpoints/old"}


def test_a_root_in_use_and_no_root_are_refused(root: Root, tmp_path: Path) -> None:
    with lock_root(root.folder):
        code, said = root.clean("--delete")
    assert code == 1
    assert f"{root.folder} is in use by another run (process {os.getpid()})" in said
    told = CliRunner().invoke(main, ["clean", str(tmp_path)])
    assert told.exit_code == 2
    assert "expected the root of a run, got a folder without metadata.sqlite" in told.output
