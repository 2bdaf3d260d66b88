"""Pusher: a version appears whole or not at all, and one blessing gives one version."""

from __future__ import annotations

import filecmp
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.io import fileio
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import io_utils, proto_utils

from components.pusher import AtomicPushExecutor, push
from tests.tiny import Exported

pytest_plugins = ["tests.fixtures"]

BLESSED_AT = 1_700_000_000


class Killed(BaseException):
    """As a signal would: no handler for errors sees it."""


@pytest.fixture
def model(export: Callable[[int], Exported]) -> Path:
    return export(3).folder


@pytest.fixture
def other(export: Callable[[int], Exported]) -> Path:
    return export(1).folder


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def is_copy(folder: Path, model: Path) -> bool:
    names = files(model)
    assert "saved_model.pb" in names
    return files(folder) == names and filecmp.cmpfiles(folder, model, names, shallow=False)[0] == names


def test_a_model_is_pushed_whole(tmp_path: Path, model: Path) -> None:
    base = tmp_path / "not yet there" / "serving"
    path = push(str(model), str(base), BLESSED_AT)
    assert path == str(base / "1700000000")
    assert is_copy(Path(path), model)
    assert [entry.name for entry in base.iterdir()] == ["1700000000"]


def test_a_version_appears_by_a_rename(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[str], bool]] = []
    rename = fileio.rename

    def watched(source: str, target: str, *args: object) -> None:
        # TF Serving takes any folder whose name is a number.
        seen.append(
            ([path.name for path in tmp_path.iterdir() if path.name.isdigit()], is_copy(Path(source), model))
        )
        assert target == str(tmp_path / "1700000000")
        rename(source, target, *args)

    monkeypatch.setattr(fileio, "rename", watched)
    push(str(model), str(tmp_path), BLESSED_AT)
    # At the moment of the only rename: no version yet, and everything copied.
    assert seen == [([], True)]


def test_what_a_killed_push_leaves_is_replaced(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(fileio, "rename", killed)
        with pytest.raises(Killed):
            push(str(model), str(tmp_path), BLESSED_AT)
    (left,) = tmp_path.iterdir()
    assert left.name == ".1700000000.incomplete"
    # Killed earlier: half of a file, and something of another model.
    (left / "saved_model.pb").write_bytes(b"half")
    (left / "foreign").write_text("not of this model")
    path = Path(push(str(model), str(tmp_path), BLESSED_AT))
    assert [entry.name for entry in tmp_path.iterdir()] == ["1700000000"]
    assert is_copy(path, model)


def test_the_same_model_at_the_same_version_is_not_copied_again(tmp_path: Path, model: Path) -> None:
    first = Path(push(str(model), str(tmp_path), BLESSED_AT))
    before = {name: (first / name).stat().st_ino for name in files(first)}
    assert push(str(model), str(tmp_path), BLESSED_AT) == str(first)
    assert {name: (first / name).stat().st_ino for name in files(first)} == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["1700000000"]


def test_another_model_at_the_same_version_takes_the_next_free(
    tmp_path: Path, model: Path, other: Path
) -> None:
    first, second = (push(str(m), str(tmp_path), BLESSED_AT) for m in (model, other))
    assert [Path(path).name for path in (first, second)] == ["1700000000", "1700000001"]
    assert is_copy(Path(first), model)
    assert is_copy(Path(second), other)
    # And finds itself there again.
    assert push(str(other), str(tmp_path), BLESSED_AT) == second
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_served_already_is_not_pushed_again(tmp_path: Path, model: Path) -> None:
    first = push(str(model), str(tmp_path), BLESSED_AT)
    assert push(str(model), str(tmp_path), BLESSED_AT + 60) == first
    assert [entry.name for entry in tmp_path.iterdir()] == ["1700000000"]


def test_going_back_to_an_older_model_makes_it_the_highest_version(
    tmp_path: Path, model: Path, other: Path
) -> None:
    push(str(model), str(tmp_path), BLESSED_AT)
    push(str(other), str(tmp_path), BLESSED_AT + 60)
    again = push(str(model), str(tmp_path), BLESSED_AT)
    assert Path(again).name == "1700000061"
    assert is_copy(Path(again), model)


def test_in_a_bucket_nothing_is_renamed_and_the_models_file_comes_last(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRANTE_BUCKETS", str(tmp_path))
    base = tmp_path / "gcs" / "bucket" / "serving"
    seen: list[list[str]] = []
    copy_file = io_utils.copy_file

    def refused(*_: object) -> None:
        raise OSError("Too many open files")  # what Cloud Storage FUSE says of a folder

    def watched(source: str, target: str, *args: object) -> None:
        if target.endswith("saved_model.pb"):
            seen.append(files(Path(target).parent))
            if len(seen) == 1:
                raise Killed
        copy_file(source, target, *args)

    monkeypatch.setattr(fileio, "rename", refused)
    monkeypatch.setattr(io_utils, "copy_file", watched)
    with pytest.raises(Killed):
        push(str(model), str(base), BLESSED_AT)
    # What was killed is no model, and stays one that no server takes.
    path = Path(push(str(model), str(base), BLESSED_AT))
    assert path == base / "1700000001"
    assert is_copy(path, model)
    assert seen == [[name for name in files(model) if name != "saved_model.pb"]] * 2
    assert push(str(model), str(base), BLESSED_AT) == str(path)


def test_what_is_no_model_is_not_overwritten(tmp_path: Path, model: Path) -> None:
    (tmp_path / str(BLESSED_AT)).mkdir()
    (tmp_path / str(BLESSED_AT) / "mine.txt").write_text("keep")
    assert push(str(model), str(tmp_path), BLESSED_AT) == str(tmp_path / "1700000001")
    assert (tmp_path / str(BLESSED_AT) / "mine.txt").read_text() == "keep"


# --- the component


def run_executor(
    folder: Path,
    model_dir: Path,
    model_blessed: int = 1,
    infra_blessed: int = 1,
    blessed_at_ms: int = BLESSED_AT * 1000 + 999,
) -> standard_artifacts.PushedModel:
    """Runs the executor on artifacts as ML Metadata gives them."""
    model = standard_artifacts.Model()
    model.uri = str(folder / "model")
    if not (folder / "model").exists():
        (folder / "model").mkdir()
        (folder / "model" / "Format-Serving").symlink_to(model_dir)
    blessing = standard_artifacts.ModelBlessing()
    blessing.set_mlmd_artifact(metadata_store_pb2.Artifact(id=2, create_time_since_epoch=blessed_at_ms))
    blessing.set_int_custom_property("blessed", model_blessed)
    infra = standard_artifacts.InfraBlessing()
    infra.set_int_custom_property("blessed", infra_blessed)
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(folder / "pushed")
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(folder / "serving"))
    )
    AtomicPushExecutor().Do(
        {"model": [model], "model_blessing": [blessing], "infra_blessing": [infra]},
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(destination), "custom_config": "null"},
    )
    return pushed


def test_the_executor_pushes_what_is_blessed(tmp_path: Path, model: Path) -> None:
    for _ in range(2):  # once more after a kill: the same version
        pushed = run_executor(tmp_path, model)
        assert pushed.get_int_custom_property("pushed") == 1
        assert pushed.get_string_custom_property("pushed_destination") == str(tmp_path / "serving/1700000000")
        assert pushed.get_string_custom_property("pushed_version") == "1700000000"
    assert [entry.name for entry in (tmp_path / "serving").iterdir()] == ["1700000000"]
    assert is_copy(tmp_path / "serving" / "1700000000", model)


def test_without_a_time_of_the_blessing_the_version_is_that_of_the_push(tmp_path: Path, model: Path) -> None:
    # As on Vertex AI.
    began = int(time.time())
    pushed = run_executor(tmp_path, model, blessed_at_ms=0)
    assert began <= int(pushed.get_string_custom_property("pushed_version")) <= int(time.time())


@pytest.mark.parametrize(("model_blessed", "infra_blessed"), [(0, 1), (1, 0), (0, 0)])
def test_the_executor_pushes_nothing_else(
    tmp_path: Path, model: Path, model_blessed: int, infra_blessed: int
) -> None:
    pushed = run_executor(tmp_path, model, model_blessed, infra_blessed)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not (tmp_path / "serving").exists()
