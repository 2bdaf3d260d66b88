"""Which versions answer while they come and go; a version is a plain object here."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorflow_serving.apis import get_model_status_pb2

from pipeline.serving.errors import ServingError, invalid
from pipeline.serving.metadata import fill_status, status_json
from pipeline.serving.versions.config import ModelConfig
from pipeline.serving.versions.manager import Manager, ManagerOptions
from pipeline.serving.versions.records import State
from pipeline.serving.versions.shelf import Shelf
from pipeline.serving.versions.source import find_versions


class Served:
    """A manager with models that are their version numbers; those named in `broken` cannot be loaded."""

    def __init__(self, **options: Any):
        self.shelf = Shelf()
        self.broken: set[int] = set()
        self.broken_by: dict[int, Exception] = {}
        self.closed: list[int] = []
        options = {"poll_secs": 0.02, "load_retries": 0, **options}
        self.manager = Manager(
            self.shelf, ManagerOptions(**options), self.load, lambda model: self.closed.append(model.version)
        )
        self.manager.start()

    def load(self, name: str, version: int, path: str) -> Any:
        if version in self.broken:
            raise invalid("broken")
        if version in self.broken_by:
            raise self.broken_by[version]
        return SimpleNamespace(name=name, version=version)

    def version(self, number: int | None = None, label: str | None = None) -> int:
        with self.shelf.find("m", number, label) as model:
            return model.version

    def states(self) -> dict[int, str]:
        return {number: state.name for number, state, _ in self.shelf.states("m", None)}


@pytest.fixture
def make_served() -> Iterator[Callable[..., Served]]:
    made = []

    def make(**options: Any) -> Served:
        made.append(Served(**options))
        return made[-1]

    yield make
    for each in made:
        each.manager.stop()


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_versions_are_the_folders_with_numbers(tmp_path: Path) -> None:
    for name in ("00000123", "7", "7x", "-1", "٣", "99999999999999999999", "tmp"):
        (tmp_path / name).mkdir()
    assert find_versions(str(tmp_path)) == {123: f"{tmp_path}/00000123", 7: f"{tmp_path}/7"}
    (tmp_path / "7" / "saved_model.pb").touch()
    assert find_versions(str(tmp_path / "7")) == {7: f"{tmp_path}/7"}
    with pytest.raises(FileNotFoundError):
        find_versions(str(tmp_path / "gone"))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ModelConfig("m", "/m"), {5}),
        (ModelConfig("m", "/m", latest=2), {3, 5}),
        (ModelConfig("m", "/m", policy="all"), {1, 3, 5}),
        (ModelConfig("m", "/m", policy="specific", specific=frozenset({1, 4})), {1}),
    ],
)
def test_policies(config: ModelConfig, expected: set[int]) -> None:
    assert set(config.pick({1: "/1", 3: "/3", 5: "/5"})) == expected


def test_a_new_version_answers_before_the_old_one_goes(
    tmp_path: Path, make_served: Callable[..., Served]
) -> None:
    (tmp_path / "1").mkdir()
    served = make_served()
    served.manager.set_models([ModelConfig("m", str(tmp_path))])
    handle = served.shelf.find("m", None, None)
    with handle as model:
        assert model.version == 1
        (tmp_path / "2").mkdir()
        wait_until(lambda: served.states() == {2: "AVAILABLE", 1: "UNLOADING"})
        assert served.version() == 2
        # It takes no more requests, but the one under way holds it.
        with pytest.raises(ServingError, match=r"Servable not found for request: Specific\(m, 1\)"):
            served.version(1)
        assert served.closed == []
    wait_until(lambda: served.states() == {2: "AVAILABLE", 1: "END"})
    assert served.closed == [1]


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(
    tmp_path: Path, make_served: Callable[..., Served]
) -> None:
    (tmp_path / "1").mkdir()
    served = make_served()
    served.broken = {2}
    served.manager.set_models([ModelConfig("m", str(tmp_path))])
    (tmp_path / "2").mkdir()
    wait_until(lambda: served.states().get(2) == "END")
    assert served.version() == 1
    assert str(served.shelf.states("m", 2)[0][2]) == "INVALID_ARGUMENT: broken"
    # Taken away and put there again, it is tried again.
    (tmp_path / "2").rmdir()
    time.sleep(0.1)
    served.broken = set()
    (tmp_path / "2").mkdir()
    wait_until(lambda: served.states() == {2: "AVAILABLE", 1: "END"})


def test_a_version_that_goes_while_it_is_tried_again_is_loaded_when_it_comes_back(
    tmp_path: Path, make_served: Callable[..., Served]
) -> None:
    (tmp_path / "1").mkdir()
    served = make_served(load_retries=5, retry_secs=60)
    served.broken = {2}
    served.manager.set_models([ModelConfig("m", str(tmp_path))])
    (tmp_path / "2").mkdir()
    wait_until(lambda: served.states().get(2) == "LOADING")
    (tmp_path / "2").rmdir()
    wait_until(lambda: served.states().get(2) == "END")
    served.broken = set()
    (tmp_path / "2").mkdir()
    wait_until(lambda: served.states() == {2: "AVAILABLE", 1: "END"})


def test_a_version_that_comes_back_while_it_is_unloaded_is_loaded_again(
    tmp_path: Path, make_served: Callable[..., Served]
) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    served = make_served()
    served.manager.set_models([ModelConfig("m", str(tmp_path))])
    with served.shelf.find("m", None, None):
        (tmp_path / "2").rmdir()
        wait_until(lambda: served.states() == {2: "UNLOADING", 1: "AVAILABLE"})
        (tmp_path / "2").mkdir()
        wait_until(lambda: set(served.shelf.models["m"].aspired) == {2})
    wait_until(lambda: served.states() == {2: "AVAILABLE", 1: "END"})


@pytest.mark.parametrize("threads", [0, 2])
def test_versions_that_are_loaded_at_the_same_time(
    threads: int, tmp_path: Path, make_served: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = threading.Barrier(2)

    def load(name: str, version: int, path: str) -> Any:
        try:
            meeting.wait(5 if threads else 0.1)
        except threading.BrokenBarrierError:
            meeting.reset()
            raise invalid("loaded alone") from None
        return SimpleNamespace(name=name, version=version)

    monkeypatch.setattr(Served, "load", lambda self, *given: load(*given))
    served = make_served(load_threads=threads)
    for version in "12":
        (tmp_path / version).mkdir()
    if threads:
        served.manager.set_models([ModelConfig("m", str(tmp_path), latest=2)])
        wait_until(lambda: served.states() == {2: "AVAILABLE", 1: "AVAILABLE"})
    else:
        with pytest.raises(ServingError, match=r"version: 2} due to error: INVALID_ARGUMENT: loaded alone"):
            served.manager.set_models([ModelConfig("m", str(tmp_path), latest=2)])


def test_an_error_of_any_kind_ends_no_loader(tmp_path: Path, make_served: Callable[..., Served]) -> None:
    (tmp_path / "1").mkdir()
    served = make_served()
    served.manager.set_models([ModelConfig("m", str(tmp_path))])
    served.broken_by = {2: KeyError("x")}
    (tmp_path / "2").mkdir()
    wait_until(lambda: served.states().get(2) == "END")
    assert str(served.shelf.states("m", 2)[0][2]) == "INTERNAL: KeyError: 'x'"
    (tmp_path / "3").mkdir()
    wait_until(lambda: served.states() == {3: "AVAILABLE", 2: "END", 1: "END"})


def test_a_model_that_cannot_be_loaded_is_an_error(
    tmp_path: Path, make_served: Callable[..., Served]
) -> None:
    (tmp_path / "1").mkdir()
    served = make_served()
    served.broken = {1}
    with pytest.raises(ServingError, match=r"1 model\(s\) did not become available: .*m version: 1.*broken"):
        served.manager.set_models([ModelConfig("m", str(tmp_path))])


def test_a_base_path_that_vanishes_changes_nothing_and_an_empty_one_ends_the_model(
    tmp_path: Path, make_served: Callable[..., Served]
) -> None:
    base = tmp_path / "base"
    (base / "1").mkdir(parents=True)
    served = make_served()
    served.manager.set_models([ModelConfig("m", str(base))])
    base.rename(tmp_path / "away")
    time.sleep(0.1)
    assert served.version() == 1
    base.mkdir()
    wait_until(lambda: served.states() == {1: "END"})


def test_labels(tmp_path: Path, make_served: Callable[..., Served]) -> None:
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
    served = make_served()
    both = ModelConfig("m", str(tmp_path), policy="all")
    served.manager.set_models([both])
    wait_until(lambda: served.states() == {2: "AVAILABLE", 1: "AVAILABLE"})
    served.manager.set_models([ModelConfig("m", str(tmp_path), policy="all", labels={"old": 1})])
    assert served.version(label="old") == 1
    with pytest.raises(ServingError, match="label to version 3 of model m, which is not currently available"):
        served.manager.set_models([ModelConfig("m", str(tmp_path), policy="all", labels={"old": 3})])
    assert served.version(label="old") == 1
    served.manager.set_models([both])
    with pytest.raises(ServingError, match="Unrecognized servable version label: old"):
        served.version(label="old")


def test_switches_under_load_fail_no_call(tmp_path: Path, make_served: Callable[..., Served]) -> None:
    (tmp_path / "1").mkdir()
    served = make_served()
    served.manager.set_models([ModelConfig("m", str(tmp_path))])
    problems: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                served.version()
            except ServingError as e:
                problems.append(e)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    for number in range(2, 12):
        (tmp_path / str(number)).mkdir()
        wait_until(lambda number=number: served.states().get(number) == "AVAILABLE")
    stop.set()
    for client in clients:
        client.join()
    assert problems == []


def test_the_status_quotes_any_bytes() -> None:
    error = invalid(b"Could not parse \xff\xc3\xa4".decode("utf-8", "surrogateescape"))
    response = get_model_status_pb2.GetModelStatusResponse()
    fill_status([(1, State.END, error)], response)
    (status,) = json.loads(status_json(response))["model_version_status"]
    assert status["status"]["error_message"] == "Could not parse \ufffd\u00e4"
