"""An ingest whose work Beam's workers do: the same shards, and errors as with processes of this machine."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import MiranteError
from components.ingest import ingest
from components.ingest.config import IngestConfig
from components.ingest.work import SourceChangedError
from pipeline.engines.arguments import IN_MEMORY
from pipeline.engines.config import BeamConfig
from pipeline.engines.ingest_pool import BeamPool, do_task, make_ingest_pool
from tests.make.folders import write_photos

HERE = "tests.engines.test_ingest_pool"


def square(number: int, report: Any) -> int:
    report(number)
    return number * number


def refuse(why: str, report: Any) -> None:
    raise SourceChangedError(why)


def read_shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*-of-*")}


@pytest.mark.usefixtures("inline_workers")
def test_beams_workers_write_the_same_shards(tmp_path: Path) -> None:
    photos = write_photos(tmp_path, images=12)
    (photos / "cats" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    config = IngestConfig(shards=2, max_reject_share=0.5)
    plain = ingest("folder", photos, tmp_path / "plain", config)
    pool = BeamPool(IN_MEMORY, tmp_path / "answers")
    done = ingest("folder", photos, tmp_path / "beam", config, pool=pool)
    assert read_shards(tmp_path / "beam") == read_shards(tmp_path / "plain")
    assert (done.splits, done.rejected) == (plain.splits, plain.rejected)
    assert done.rejected == 1
    assert not (tmp_path / "answers").exists()


def test_answers_errors_and_lost_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = BeamPool(IN_MEMORY, tmp_path / "answers")
    assert list(pool.map(f"{HERE}:square", [])) == []
    # In several pipelines.
    monkeypatch.setattr("pipeline.engines.ingest_pool._TASKS_AT_ONCE", 2)
    tasks = [(f"task {n}", (n,)) for n in range(3)]
    assert list(pool.map(f"{HERE}:square", tasks)) == [("task 0", 0), ("task 1", 1), ("task 2", 4)]
    with pytest.raises(SourceChangedError, match=r"^Größe$"):
        list(pool.map(f"{HERE}:refuse", [("a", ("Größe",))]))
    monkeypatch.setattr(BeamPool, "_run", lambda self, tasks: None)
    with pytest.raises(
        MiranteError, match=r"^task 0: the engine has ended without an answer to this task; do"
    ):
        list(pool.map(f"{HERE}:square", tasks))
    assert not (tmp_path / "answers").exists()


def test_workers_that_do_not_see_the_tasks_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [("task 0", (bytes(1 << 20),))]
    given: list[str] = []
    run = BeamPool._run

    def run_elsewhere(pool: BeamPool, paths: list[str]) -> None:
        given.extend(paths)
        run(pool, [f"{path}-of-another-machine" for path in paths])

    monkeypatch.setattr(BeamPool, "_run", run_elsewhere)
    with pytest.raises(MiranteError, match=r"-machine: expected a task of the ingest, got no such file; m"):
        list(BeamPool(IN_MEMORY, tmp_path / "answers").map(f"{HERE}:square", tasks))
    # The engine moves names alone.
    assert given
    assert all(len(path) < 1000 for path in given)


def test_a_late_worker_does_not_answer_a_task_of_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[Any] = []

    def run(pool: BeamPool, tasks: list[Any]) -> None:
        # Those of the pipeline before, once more, after their own.
        for each in tasks:
            do_task(each)
        for each in late:
            with contextlib.suppress(MiranteError):
                do_task(each)
        late[:] = tasks

    monkeypatch.setattr(BeamPool, "_run", run)
    monkeypatch.setattr("pipeline.engines.ingest_pool._TASKS_AT_ONCE", 1)
    pool = BeamPool(IN_MEMORY, tmp_path / "answers")
    assert [answer for _, answer in pool.map(f"{HERE}:square", [(n, (n,)) for n in (3, 5)])] == [9, 25]


def test_only_an_ingest_that_is_named_has_an_engine(tmp_path: Path) -> None:
    assert make_ingest_pool(BeamConfig(engine="prism"), tmp_path) is None
    prism = BeamConfig.model_validate({"nodes": {"ingest": {"engine": "prism"}}})
    assert isinstance(make_ingest_pool(prism, tmp_path), BeamPool)
