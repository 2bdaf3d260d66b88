"""Pusher: a version appears whole or not at all, one blessing gives one version, removed ones stay back."""

from __future__ import annotations

import concurrent.futures
import filecmp
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import io_utils, proto_utils

import components.base.files
from components.base import serving_folder
from components.base.errors import MiranteError, UsageError
from components.base.saved_model import FINGERPRINT_FILE
from components.evaluator.evaluation import Evaluation, write_evaluation
from components.model_card.files import read_facts
from components.model_stores.store import fetch_served, open_store
from components.prediction.asked import saved_model_folder
from components.pusher.executor import AtomicPushExecutor, TakenBackError, push
from components.pusher.rollback import roll_back
from components.resolver.baseline import link_served
from pipeline.serving.errors import ServingError
from pipeline.serving.metrics import Metrics
from pipeline.serving.server import _make_loader
from pipeline.serving.settings import Settings
from pipeline.serving.versions.source import find_versions
from tests import object_stores
from tests.make.graphs import Exported

pytest_plugins = ["tests.fixtures"]

BLESSED_AT = 1_700_000_000


class Killed(BaseException):
    """As a signal would: no handler for errors sees it."""


@pytest.fixture
def model(export: Callable[[int], Exported]) -> Path:
    return export(3).folder


@pytest.fixture(scope="module")
def other(export: Callable[[int], Exported], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with another fingerprint, by which models are told apart."""
    folder = tmp_path_factory.mktemp("other") / "model"
    shutil.copytree(export(3).folder, folder)
    (folder / FINGERPRINT_FILE).write_bytes(b"another")
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def is_copy(folder: Path, model: Path) -> bool:
    names = files(model)
    assert "saved_model.pb" in names
    return files(folder) == names and filecmp.cmpfiles(folder, model, names, shallow=False)[0] == names


def names(base: Path) -> list[str]:
    """Return the names in a push destination besides the records."""
    return sorted(path.name for path in base.iterdir() if path.name != "pushes")


def test_a_model_is_pushed_whole(tmp_path: Path, model: Path) -> None:
    base = tmp_path / "not yet there" / "serving"
    path = push(str(model), str(base), BLESSED_AT)
    assert path == str(base / "1700000000")
    assert is_copy(Path(path), model)
    assert names(base) == ["1700000000"]


def test_a_push_is_recorded(tmp_path: Path, model: Path) -> None:
    push(str(model), str(tmp_path), BLESSED_AT)
    content = json.loads((tmp_path / "pushes" / "1700000000.json").read_text())
    assert content["version"] == BLESSED_AT
    assert sorted(content["files"]) == files(model)
    data = content["files"]["assets.extra/labels.txt"]
    assert data["bytes"] == len("bird\ncat\ndog\n")
    # printf 'bird\ncat\ndog\n' | sha256sum
    assert data["sha256"] == "0e400cbf0a12179f11f768ecdbfc0f9d7120fd15c830b72556de502b3f427206"


def test_a_version_appears_by_a_rename(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[str], bool]] = []
    rename = Path.rename

    def watched(source: Path, target: object) -> Path:
        # TF Serving takes any folder whose name is a number.
        seen.append(
            ([path.name for path in tmp_path.iterdir() if path.name.isdigit()], is_copy(source, model))
        )
        assert target == str(tmp_path / "1700000000")
        return rename(source, str(target))

    monkeypatch.setattr(Path, "rename", watched)
    push(str(model), str(tmp_path), BLESSED_AT)
    # At the moment of the only rename: no version yet, and everything copied.
    assert seen == [([], True)]


@pytest.mark.slow
def test_what_a_killed_push_leaves_is_replaced_and_nobody_elses(tmp_path: Path, model: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from components.pusher import executor as pusher\n"
        "pusher._read_back = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "pusher.push(sys.argv[1], sys.argv[2], 1700000000)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(model), str(tmp_path)], check=False)
    assert done.returncode == -9
    (left,) = names(tmp_path)
    assert left.startswith(".1700000000.")
    assert left.endswith(".incomplete")
    # Killed earlier: half of a file, and something of another model.
    (tmp_path / left / "saved_model.pb").write_bytes(b"half")
    (tmp_path / left / "foreign").write_text("not of this model")
    others = tmp_path / ".1700000000.0123456789ab-0123456789ab.incomplete"
    others.mkdir()
    path = Path(push(str(model), str(tmp_path), BLESSED_AT))
    assert names(tmp_path) == [others.name, "1700000000"]
    assert is_copy(path, model)


def test_what_is_read_back_must_be_what_was_copied(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_dir = io_utils.copy_dir

    def cut(source: str, target: str, *args: object) -> None:
        copy_dir(source, target, *args)
        os.truncate(os.path.join(target, "saved_model.pb"), 100)

    monkeypatch.setattr(io_utils, "copy_dir", cut)
    with pytest.raises(
        MiranteError, match=r"saved_model.pb has 100 bytes, and [\d,]+ were pushed, read back"
    ):
        push(str(model), str(tmp_path), BLESSED_AT)
    assert names(tmp_path) == []


def test_the_same_model_at_the_same_version_is_not_copied_again(tmp_path: Path, model: Path) -> None:
    first = Path(push(str(model), str(tmp_path), BLESSED_AT))
    before = {name: (first / name).stat().st_ino for name in files(first)}
    assert push(str(model), str(tmp_path), BLESSED_AT) == str(first)
    assert {name: (first / name).stat().st_ino for name in files(first)} == before
    assert names(tmp_path) == ["1700000000"]


def test_a_version_of_an_older_release_is_recorded_when_it_is_met(tmp_path: Path, model: Path) -> None:
    shutil.copytree(model, tmp_path / "1700000000")
    assert push(str(model), str(tmp_path), BLESSED_AT) == str(tmp_path / "1700000000")
    assert serving_folder.read_record(str(tmp_path), BLESSED_AT) is not None


def test_another_model_at_the_same_version_takes_the_next_free(
    tmp_path: Path, model: Path, other: Path
) -> None:
    first, second = (push(str(m), str(tmp_path), BLESSED_AT) for m in (model, other))
    assert [Path(path).name for path in (first, second)] == ["1700000000", "1700000001"]
    assert is_copy(Path(first), model)
    assert is_copy(Path(second), other)
    # And finds itself there again.
    assert push(str(other), str(tmp_path), BLESSED_AT) == second
    assert len(names(tmp_path)) == 2


def test_what_is_served_already_is_not_pushed_again(tmp_path: Path, model: Path) -> None:
    first = push(str(model), str(tmp_path), BLESSED_AT)
    assert push(str(model), str(tmp_path), BLESSED_AT + 60) == first
    assert names(tmp_path) == ["1700000000"]


def test_going_back_to_an_older_model_makes_it_the_highest_version_and_says_so(
    tmp_path: Path, model: Path, other: Path, caplog: pytest.LogCaptureFixture
) -> None:
    push(str(model), str(tmp_path), BLESSED_AT)
    push(str(other), str(tmp_path), BLESSED_AT + 60)
    caplog.set_level("INFO", "mirante")
    again = push(str(model), str(tmp_path), BLESSED_AT)
    assert Path(again).name == "1700000061"
    assert is_copy(Path(again), model)
    assert "version 1700000061 holds the same model as version 1700000000" in caplog.messages


def test_versions_increase_when_the_clock_goes_back(tmp_path: Path, model: Path, other: Path) -> None:
    push(str(model), str(tmp_path), BLESSED_AT)
    assert Path(push(str(other), str(tmp_path), BLESSED_AT - 3 * 86400)).name == "1700000001"
    # Also above a version that was removed: a server may still have it in its memory.
    shutil.rmtree(tmp_path / "1700000001")
    shutil.rmtree(tmp_path / "1700000000")
    (tmp_path / "pushes" / "1700000000.json").unlink()
    assert Path(push(str(model), str(tmp_path), BLESSED_AT - 3 * 86400)).name == "1700000002"


def test_names_that_are_no_ascii_numbers_are_no_versions(tmp_path: Path, model: Path) -> None:
    for name in ("²", "٣", "12a", "-5", "1" * 20, "9" * 19):
        (tmp_path / name).mkdir()
    (tmp_path / "007").mkdir()
    assert serving_folder.list_versions(str(tmp_path)) == {7: str(tmp_path / "007")}
    assert push(str(model), str(tmp_path), 5) == str(tmp_path / "8")


def test_a_version_that_was_removed_stays_back(tmp_path: Path, model: Path, other: Path) -> None:
    push(str(other), str(tmp_path), BLESSED_AT)
    bad = Path(push(str(model), str(tmp_path), BLESSED_AT + 60))
    shutil.rmtree(bad)
    for _ in range(2):
        with pytest.raises(TakenBackError) as raised:
            push(str(model), str(tmp_path), BLESSED_AT + 60)
        assert raised.value.version == BLESSED_AT + 60
    assert names(tmp_path) == ["1700000000"]
    # Another model is not held up, nor has it the number that was taken back.
    assert push(str(other), str(tmp_path), BLESSED_AT + 60) == str(tmp_path / "1700000000")
    # The record's removal is the way to push it again.
    (tmp_path / "pushes" / "1700000060.json").unlink()
    assert Path(push(str(model), str(tmp_path), BLESSED_AT + 60)) == bad


def test_a_folder_that_was_removed_whole_is_a_new_one(tmp_path: Path, model: Path) -> None:
    base = tmp_path / "serving"
    push(str(model), str(base), BLESSED_AT)
    shutil.rmtree(base)
    assert push(str(model), str(base), BLESSED_AT) == str(base / "1700000000")


@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_version_is_found_and_the_model_pushed_anew(
    tmp_path: Path, model: Path, cut: bool, caplog: pytest.LogCaptureFixture
) -> None:
    first = Path(push(str(model), str(tmp_path), BLESSED_AT))
    assert serving_folder.find_damage(str(tmp_path), BLESSED_AT) is None
    (data,) = first.glob("variables/variables.data*")
    if cut:
        os.truncate(data, 100)
    else:
        content = bytearray(data.read_bytes())
        content[200] ^= 1
        data.write_bytes(content)
    problem = serving_folder.find_damage(str(tmp_path), BLESSED_AT)
    assert problem is not None
    assert problem.startswith(f"variables/{data.name} has {'100 bytes' if cut else 'other content'}")
    again = Path(push(str(model), str(tmp_path), BLESSED_AT))
    assert again.name == "1700000001"
    assert is_copy(again, model)
    assert any(f"{first} is damaged: {problem}" in message for message in caplog.messages)
    assert push(str(model), str(tmp_path), BLESSED_AT) == str(again)


def push_often(model: str, base: str, begin: Any, queue: Any) -> None:
    begin.wait()
    queue.put((model, [push(model, base, BLESSED_AT + turn) for turn in range(5)]))


def test_side_by_side_pushes_are_whole(tmp_path: Path, model: Path, other: Path) -> None:
    """Four processes push two models at once, twenty times; each reported version is whole."""
    base = tmp_path / "serving"
    # Paths of their own, as those of four roots.
    made = [str(shutil.copytree((model, other)[n % 2], tmp_path / f"model-{n}")) for n in range(4)]
    context = multiprocessing.get_context("fork")  # TFX is imported already
    begin, queue = context.Barrier(4), context.Queue()
    processes = [context.Process(target=push_often, args=(path, str(base), begin, queue)) for path in made]
    for process in processes:
        process.start()
    told = dict(queue.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    for source, paths in told.items():
        for path in paths:
            assert is_copy(Path(path), Path(source))
            assert serving_folder.find_damage(str(base), int(Path(path).name)) is None
    assert sorted({path for paths in told.values() for path in paths}) == [
        str(base / name) for name in names(base)
    ]


def test_a_push_waits_for_the_lock(tmp_path: Path, model: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with serving_folder.hold_lock(str(tmp_path)):
            pushed = pool.submit(push, str(model), str(tmp_path), BLESSED_AT)
            time.sleep(0.3)
            assert not pushed.done()
            assert names(tmp_path) == []
        assert pushed.result(timeout=60) == str(tmp_path / "1700000000")


def test_in_a_bucket_nothing_is_renamed_and_the_models_file_comes_last(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRANTE_BUCKETS", str(tmp_path))
    base = tmp_path / "gcs" / "bucket" / "serving"
    seen: list[list[str]] = []
    write = components.base.files._writing

    def refused(*_: object) -> None:
        raise OSError("Too many open files")  # what Cloud Storage FUSE says of a folder

    def watched(target: str) -> Any:
        if target.endswith("saved_model.pb"):
            seen.append(files(Path(target).parent))
            if len(seen) == 1:
                raise Killed
        return write(target)

    monkeypatch.setattr(os, "rename", refused)
    monkeypatch.setattr(components.base.files, "_writing", watched)
    with pytest.raises(Killed):
        push(str(model), str(base), BLESSED_AT)
    # What was killed is no model, and stays one that no server takes.
    path = Path(push(str(model), str(base), BLESSED_AT))
    assert path == base / "1700000001"
    assert is_copy(path, model)
    assert seen == [[name for name in files(model) if name != "saved_model.pb"]] * 2
    assert push(str(model), str(base), BLESSED_AT) == str(path)


@pytest.mark.services
@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_versions_in_an_object_store(
    scheme: str, tmp_path: Path, model: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with {"s3": object_stores.s3, "gs": object_stores.gcs}[scheme](tmp_path / "store") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        there = f"{scheme}://{object_stores.BUCKET}/models/belt"
        assert saved_model_folder_of(there) is None
        serving_folder.check_can_push(there)
        first, second = push(str(model), there, BLESSED_AT), push(str(other), there, BLESSED_AT)
        assert push(str(other), there, BLESSED_AT) == second
        # A push under way.
        components.base.files.write_bytes(f"{there}/1900000000/variables/variables.index", b"")
        versions = {BLESSED_AT: first, BLESSED_AT + 1: second}
        assert find_versions(there) == versions
        assert find_versions(first) == {BLESSED_AT: first}
        for given, pushed in (
            (there, other),
            (f"{scheme}://{object_stores.BUCKET}/models/belt/", other),
            (first, model),
        ):
            found = saved_model_folder_of(given)
            assert found is not None
            assert is_copy(found, pushed)
        link_served(str(tmp_path / "baseline"), first)
        assert is_copy(tmp_path / "baseline" / "Format-Serving", model)
        loader = _make_loader(Settings(), None, Metrics())
        servable = loader.load("belt", BLESSED_AT, first)
        assert is_copy(Path(servable.folder), model)
        loader.unload(servable)
        assert not Path(servable.folder).exists()
        with pytest.raises(ServingError, match="SavedModel"):
            loader.load("belt", 1, f"{there}/1")
        assert roll_back(there).version == BLESSED_AT
        assert find_versions(there) == {BLESSED_AT: first}
        with pytest.raises(FileNotFoundError, match="nothing below"):
            find_versions(f"{there}/none")
        nowhere = f"{scheme}://none/models"
        with pytest.raises(MiranteError, match=f"push.destination: {nowhere}/.*there is no bucket none"):
            serving_folder.check_can_push(nowhere)
        with pytest.raises(OSError, match="there is no bucket none"):
            find_versions(nowhere)


def saved_model_folder_of(address: str) -> Path | None:
    try:
        return saved_model_folder(address)
    except UsageError:
        return None


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
    custom: Any = None,
    evaluation: Path | None = None,
    baseline: Path | None = None,
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
    if baseline is not None:
        blessing.set_string_custom_property("baseline_model", str(baseline))
    inputs = {"model": [model], "model_blessing": [blessing]}
    if evaluation is not None:
        inputs["evaluation"] = [standard_artifacts.ModelEvaluation()]
        inputs["evaluation"][0].uri = str(evaluation)
    infra = standard_artifacts.InfraBlessing()
    infra.set_int_custom_property("blessed", infra_blessed)
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(folder / "pushed")
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(folder / "serving"))
    )
    AtomicPushExecutor().Do(
        {**inputs, "infra_blessing": [infra]},
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(destination), "custom_config": json.dumps(custom)},
    )
    return pushed


@pytest.mark.slow
def test_further_stores_get_the_version(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    custom = {"also": ["models:/belt"]}
    with pytest.raises(UsageError, match="expected the registry's address in MLFLOW_TRACKING_URI"):
        run_executor(tmp_path, model, custom=custom)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    # The folder has it already: the push continues at the store.
    for _ in range(2):
        assert run_executor(tmp_path, model, custom=custom).get_int_custom_property("pushed") == 1
        assert open_store("models:/belt").find_served() == 1700000000
    assert serving_folder.read_stores(str(tmp_path / "serving")) == ["models:/belt"]
    assert is_copy(Path(fetch_served("models:/belt", str(tmp_path / "fetched"))), model)


CARD = {
    "about": {"description": "Tells pets apart."},
    "name": "pets",
    "task": "classification",
    "class_names": ["cat", "dog", "owl"],
    "settings": {},
    "counts": {},
    "images": {"train": 9},
    "data_sha256": "d1",
    "test_sha256": "d2",
    "source": "folder",
}


@pytest.mark.parametrize("also", [[], pytest.param(["models:/belt"], marks=pytest.mark.slow)])
def test_the_model_card_is_next_to_the_model_wherever_it_is_pushed(
    tmp_path: Path, model: Path, other: Path, monkeypatch: pytest.MonkeyPatch, also: list[str]
) -> None:
    evaluation = tmp_path / "evaluation"
    found = Evaluation(
        {"accuracy": 0.75}, {0: {"f1": 0.5}}, True, [], example_count=4, warnings=["few images"]
    )
    write_evaluation(str(evaluation), found)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    push(str(other), str(tmp_path / "serving"), 7)
    (tmp_path / "baseline").mkdir()
    (tmp_path / "baseline" / "Format-Serving").symlink_to(other)
    custom = {"also": also, "card": CARD}
    pushed = run_executor(
        tmp_path, model, 1, 1, custom=custom, evaluation=evaluation, baseline=tmp_path / "baseline"
    )
    here = Path(pushed.get_string_custom_property("pushed_destination"))
    for folder in (here, *(Path(fetch_served(name, str(tmp_path / "fetched"))) for name in also)):
        assert "Tells pets apart." in (folder / "assets.extra/model_card.md").read_text()
        card = json.loads((folder / "assets.extra/model_card.json").read_text())
        assert card["model_details"]["version"] == here.name == "1700000000"
        assert card["model_details"]["date"] == "2023-11-14"
        assert card["model_details"]["size_bytes"] > 1000
        assert card["quantitative_analyses"]["overall"] == {"accuracy": 0.75}
        assert card["quantitative_analyses"]["per_class"] == {"cat": {"f1": 0.5}}
        assert card["quantitative_analyses"]["baseline"] == "7"
        assert "Few images." in card["caveats_and_recommendations"]["limits"]
    assert {name for name in files(here) if "model_card" not in name} == {*files(model)}
    # The card is no part of the model: the same model is there already, with another text.
    custom["card"] = {**CARD, "about": {"description": "Other words."}}
    again = run_executor(tmp_path, model, 1, 1, custom=custom, evaluation=evaluation)
    assert again.get_string_custom_property("pushed_destination") == str(here)
    assert "Other words." in (here / "assets.extra/model_card.md").read_text()


def test_without_a_model_card_the_model_is_pushed(
    tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pushed = run_executor(
        tmp_path, model, custom={"card": CARD}, evaluation=tmp_path / "of an earlier version"
    )
    assert pushed.get_int_custom_property("pushed") == 1
    assert "no model card: ValueError" in caplog.text


def test_a_version_that_is_taken_back_at_once_gets_no_card(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_back_and_read(*args: Any, **given: Any) -> Any:
        (tmp_path / "serving" / given["version"]).rename(tmp_path / "aside")
        return read_facts(*args, **given)

    monkeypatch.setattr("components.pusher.executor.read_facts", take_back_and_read)
    write_evaluation(str(tmp_path / "evaluation"), Evaluation({"accuracy": 0.75}, {}, True, []))
    run_executor(tmp_path, model, custom={"card": CARD}, evaluation=tmp_path / "evaluation")
    assert serving_folder.list_versions(str(tmp_path / "serving")) == {}


def test_the_executor_pushes_what_is_blessed(tmp_path: Path, model: Path) -> None:
    for _ in range(2):  # once more after a kill: the same version
        pushed = run_executor(tmp_path, model)
        assert pushed.get_int_custom_property("pushed") == 1
        assert pushed.get_string_custom_property("pushed_destination") == str(tmp_path / "serving/1700000000")
        assert pushed.get_string_custom_property("pushed_version") == "1700000000"
    assert names(tmp_path / "serving") == ["1700000000"]
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


def test_the_executor_marks_what_was_taken_back(tmp_path: Path, model: Path) -> None:
    run_executor(tmp_path, model)
    shutil.rmtree(tmp_path / "serving" / "1700000000")
    pushed = run_executor(tmp_path, model)
    assert pushed.get_int_custom_property("pushed") == 0
    assert pushed.get_string_custom_property("taken_back_version") == "1700000000"
    assert names(tmp_path / "serving") == []
