"""Going back to an older model: folders are moved, nothing is lost, and what was taken back stays back."""

from __future__ import annotations

import fcntl
import json
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from components.base import serving_folder
from components.base.errors import MiranteError, UsageError
from components.base.outcome import Output, RunResult, Serving
from components.model_stores.store import open_store
from components.prediction.asked import find_push_destination, saved_model_folder
from components.pusher import executor, rollback
from components.pusher.executor import publish_everywhere
from components.pusher.outcome import read_outcome
from components.pusher.rollback import roll_back, roll_back_stores
from pipeline.commands.main import main
from pipeline.storage.metadata_store import sqlite_store
from pipeline.storage.pushes import TAKEN_BACK_AT

VERSIONS = (3, 5, 8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root that has pushed three models, by their files."""
    root = tmp_path / "my root"
    for version in VERSIONS:
        folder = root / "serving" / str(version)
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_text(f"model {version}")
        serving = str(folder.parent)
        serving_folder.write_record(serving, version, serving_folder.measure_files(str(folder)))
    return root


def layout(root: Path) -> dict[str, str]:
    """The models by their folders."""
    serving = root / "serving"
    return {str(path.parent.relative_to(serving)): path.read_text() for path in serving.rglob("*.pb")}


def test_the_version_before_is_served_and_the_other_is_kept(root: Path) -> None:
    serving = str(root / "serving")
    done = roll_back(serving)
    assert (done.version, list(done.taken_back)) == (5, [8])
    assert layout(root) == {"3": "model 3", "5": "model 5", "pushes/taken-back/8": "model 8"}
    assert serving_folder.highest_version(serving) == 5
    # The Pusher will not push that model again.
    of_8 = serving_folder.measure_files(str(root / "serving" / "pushes" / "taken-back" / "8"))
    assert serving_folder.find_taken_back(serving, of_8) == 8
    assert roll_back(serving).version == 3
    with pytest.raises(
        UsageError, match=r"got only version 3; serve one that was taken back, with --to \(8, 5\)"
    ):
        roll_back(serving)
    again = roll_back(serving, 8)
    assert (again.version, again.is_restored, again.taken_back) == (8, True, {})
    assert layout(root) == {"3": "model 3", "8": "model 8", "pushes/taken-back/5": "model 5"}
    assert serving_folder.find_taken_back(serving, of_8) is None
    # Served already: nothing to do.
    assert roll_back(serving, 8).taken_back == {}


def test_the_served_version_goes_last_and_an_interrupted_call_can_be_repeated(root: Path) -> None:
    in_the_way = root / "serving" / "pushes" / "taken-back" / "8" / "notes.txt"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.touch()
    with pytest.raises(OSError, match="not empty"):
        roll_back(str(root / "serving"), 3)
    assert layout(root) == {"3": "model 3", "8": "model 8", "pushes/taken-back/5": "model 5"}
    in_the_way.unlink()
    assert list(roll_back(str(root / "serving"), 3).taken_back) == [8]
    assert set(layout(root)) == {"3", "pushes/taken-back/5", "pushes/taken-back/8"}


def test_a_version_that_is_no_whole_model_is_not_served(root: Path) -> None:
    (root / "serving" / "5" / "saved_model.pb").write_text("cut off")
    with pytest.raises(
        MiranteError, match=r"5: cannot be served: saved_model.pb has other content than what was pushed"
    ):
        roll_back(str(root / "serving"))
    with pytest.raises(UsageError, match=r"--to 4: expected a version in .*, got none; there are 8, 5, 3"):
        roll_back(str(root / "serving"), 4)
    assert set(layout(root)) == {"3", "5", "8"}


def test_the_command_says_how_to_return_and_notes_it(root: Path) -> None:
    store = MetadataStore(sqlite_store(root))
    number = store.put_artifact_type(metadata_store_pb2.ArtifactType(name="PushedModel"))
    for version in VERSIONS:
        push = metadata_store_pb2.Artifact(type_id=number)
        push.custom_properties["pushed_destination"].string_value = str(root / "serving" / str(version))
        store.put_artifacts([push])

    def noted() -> list[bool]:
        return [
            TAKEN_BACK_AT in push.custom_properties for push in store.get_artifacts_by_type("PushedModel")
        ]

    told = CliRunner().invoke(main, ["rollback", str(root)])
    assert told.exit_code == 0, told.output
    first, second, _, last = told.stdout.splitlines()
    assert first == f"version 5 is served from {root}/serving"
    assert second == f"  version 8 is taken back: {root}/serving/pushes/taken-back/8"
    assert last.endswith(f"rollback '{root}' --to 8")
    assert noted() == [False, False, True]
    told = CliRunner().invoke(main, ["rollback", str(root), "--to", "8", "--json"])
    assert json.loads(told.stdout) == {"version": 8, "path": str(root / "serving" / "8"), "taken_back": {}}
    assert noted() == [False, False, False]


def test_a_model_that_stays_back_can_be_served_again_by_the_command_that_is_said(root: Path) -> None:
    serving = str(root / "serving")
    roll_back(serving)

    def refusal() -> str:
        outputs = {"pushed_model": Output("", {serving_folder.TAKEN_BACK: "8"})}
        result = RunResult("digits", "1", str(root))
        return read_outcome(outputs, result, Serving(serving, ())).refusal or ""

    command = refusal().rpartition("serve it again: ")[2]
    assert command == f"mirante rollback '{serving}' --to 8"
    assert CliRunner().invoke(main, shlex.split(command)[1:]).exit_code == 0
    assert serving_folder.highest_version(serving) == 8
    shutil.rmtree(root / "serving" / "8")
    assert refusal().endswith(f"remove {serving}/pushes/8.json and run the same command")


def tell_pushed(root: Path, run: str, pushed: str) -> None:
    """Write a part of the result of a run that pushed a model."""
    (root / "runs" / run).mkdir(parents=True)
    (root / "runs" / run / "result.json").write_text(json.dumps({"root": str(root), "pushed_model": pushed}))


def test_the_folder_that_the_newest_run_pushed_to_is_meant(root: Path, tmp_path: Path) -> None:
    tell_pushed(root, "1", str(root / "serving" / "8"))
    assert find_push_destination(str(root)) == str(root / "serving")
    (tmp_path / "production" / "9").mkdir(parents=True)
    tell_pushed(root, "2", str(tmp_path / "production" / "9"))
    assert find_push_destination(str(root)) == str(tmp_path / "production")


def test_a_copy_of_a_root_leaves_the_models_of_the_original_alone(root: Path) -> None:
    tell_pushed(root, "1", str(root / "serving" / "8"))
    copy = root.with_name("copy")
    shutil.copytree(root / "runs", copy / "runs")
    told = CliRunner().invoke(main, ["rollback", str(copy)])
    assert told.exit_code == 2
    assert "copy: no versions there" in told.stderr
    assert set(layout(root)) == {"3", "5", "8"}
    shutil.copytree(root / "serving", copy / "serving")
    assert find_push_destination(str(copy)) == str(copy / "serving")


def test_a_bucket_goes_back_too(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A folder that counts as a bucket, in which nothing may be renamed.
    monkeypatch.setenv("MIRANTE_BUCKETS", str(tmp_path))
    bucket = tmp_path / "gcs" / "my-bucket"
    shutil.copytree(root / "serving", bucket / "serving")
    monkeypatch.setattr("os.rename", None)
    serving = str(bucket / "serving")
    assert roll_back(serving).version == 5
    assert layout(bucket) == {"3": "model 3", "5": "model 5", "pushes/taken-back/8": "model 8"}
    # A call that was killed after it removed the model's file is finished by the next one.
    left = bucket / "serving" / "8"
    for version in (None, 5):
        left.mkdir()
        (left / "fingerprint.pb").touch()
        assert roll_back(serving, version).version == 5
        assert layout(bucket) == {"3": "model 3", "5": "model 5", "pushes/taken-back/8": "model 8"}
        assert not left.exists()
    # Nor is a push that was killed taken for a version, by itself and by stores.
    (bucket / "serving" / "9").mkdir()
    done = roll_back(serving, 5)
    serving_folder.note_stores(serving, ["models:/belt"])
    monkeypatch.setattr(rollback, "follow", lambda *given: None)
    assert rollback.roll_back_stores(serving, done, ["mirante", "rollback", "x"]) == ["models:/belt"]
    (bucket / "serving" / "9").rmdir()
    done = roll_back(serving, 8)
    assert (done.version, done.is_restored) == (8, True)
    assert layout(bucket) == {"3": "model 3", "5": "model 5", "8": "model 8"}


def test_a_push_into_a_bucket_meanwhile_is_noticed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRANTE_BUCKETS", str(tmp_path))
    bucket = tmp_path / "gcs" / "my-bucket"
    shutil.copytree(root / "serving", bucket / "serving")
    serving = str(bucket / "serving")
    measure = serving_folder.measure_files

    def push_and_measure(path: str) -> dict[str, serving_folder.FileSum]:
        (bucket / "serving" / "9").mkdir(exist_ok=True)
        (bucket / "serving" / "9" / "saved_model.pb").write_text("model 9")
        return measure(path)

    monkeypatch.setattr(serving_folder, "measure_files", push_and_measure)
    with pytest.raises(MiranteError, match=r"version 9 was pushed meanwhile, so that 5 is not served"):
        roll_back(serving, 5)
    assert set(layout(bucket)) == {"3", "5", "9", "pushes/taken-back/8"}
    assert list(roll_back(serving, 5).taken_back) == [9]


def test_model_stores_follow_the_folder_whatever_runs_at_the_same_time(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = root / "serving"
    published: list[int] = []

    def publish(address: str, path: str, version: int, measured: object) -> bool:
        with (serving / "pushes" / ".lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        published.append(version)
        return True

    monkeypatch.setattr(executor, "publish", publish)
    monkeypatch.setattr(rollback, "follow", lambda address, path, version: published.append(version))
    publish_everywhere(["models:/belt"], f"{serving}/8")
    done = roll_back(str(serving), 5)
    # The run that pushed 8 comes to it late, and so does one that pushed 3.
    for version in (8, 3):
        publish_everywhere(["models:/belt"], f"{serving}/{version}")
    assert published == [8]
    assert roll_back_stores(str(serving), done, []) == ["models:/belt"]
    assert published == [8, 5]
    shutil.copytree(serving / "5", serving / "9")
    with pytest.raises(MiranteError, match="version 9 was pushed meanwhile, and model stores serve it too"):
        roll_back_stores(str(serving), done, [])
    assert published == [8, 5]


@pytest.mark.slow
def test_model_stores_go_back_too(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    serving = str(root / "serving")
    # Version 3 was pushed before the store was in the recipe.
    (root / "serving" / "8").rename(root / "later")
    publish_everywhere(["models:/belt"], f"{serving}/5")
    (root / "later").rename(root / "serving" / "8")
    publish_everywhere(["models:/belt"], f"{serving}/8")
    store = open_store("models:/belt")
    assert store.find_served() == 8
    told = CliRunner().invoke(main, ["rollback", str(root)])
    assert told.stdout.splitlines()[:2] == [f"version 5 is served from {serving}", "  and from models:/belt"]
    assert store.find_served() == 5
    assert CliRunner().invoke(main, ["rollback", str(root)]).exit_code == 0
    assert store.find_served() == 3
    # The store alone, by its address.
    told = CliRunner().invoke(main, ["rollback", "models:/belt", "--to", "5", "--json"])
    assert json.loads(told.stdout) == {"version": 5, "path": "models:/belt", "taken_back": []}
    assert serving_folder.highest_version(serving) == 3
    assert saved_model_folder("models:/belt").name == "5"
    # One that does not answer: the folder has gone back, and the message says how to finish.
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    told = CliRunner().invoke(main, ["rollback", serving, "--to", "8"])
    assert told.exit_code == 1
    assert f"{serving} serves version 8, but models:/belt: expected the registry's address" in told.stderr
    assert f"then run mirante rollback '{serving}' --to 8" in told.stderr
