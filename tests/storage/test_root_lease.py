"""One run at a time uses a pipeline root: leases of runs in a real metadata store."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ml_metadata import errors
from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto.metadata_store_pb2 import Context

from components.base.errors import MiranteError
from pipeline.storage import root_lease
from pipeline.storage.metadata_store import sqlite_store
from pipeline.storage.root_lease import RootLease

pytestmark = pytest.mark.stack_free

HOLD = """
import sys, time
from pipeline.storage import root_lease
from pipeline.storage.metadata_store import sqlite_store
root_lease.BEAT_SECS = 0.2
with root_lease.RootLease(sqlite_store(sys.argv[1]), sys.argv[1], sys.argv[2], "Trainer").held(ends_run=True):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
"""


def lease(root: Path, run_id: str, task: str = "Ingest") -> RootLease:
    return RootLease(sqlite_store(root), str(root), run_id, task)


def hold(root: Path, run_id: str, secs: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root), run_id, str(secs)], stdout=subprocess.PIPE, text=True
    )


def test_tasks_of_a_run_follow_each_other_and_the_next_run_follows_the_last_task(tmp_path: Path) -> None:
    for task in ("Ingest", "Trainer", "Trainer"):
        with lease(tmp_path, "run-1", task).held():
            pass
    with pytest.raises(
        MiranteError, match=r"run-1 \(task Trainer on .+, last heard of 0 s ago.+ gone in (899|900) s$"
    ):
        lease(tmp_path, "run-2").held().__enter__()
    with lease(tmp_path, "run-1", "Pusher").held(ends_run=True):
        pass
    with lease(tmp_path, "run-2").held():
        pass
    with pytest.raises(MiranteError, match="in use by run run-2"):
        lease(tmp_path, "run-1").held().__enter__()


@pytest.mark.parametrize(("refusals", "is_held"), [(3, True), (1000, False)])
def test_what_a_server_refuses_of_tasks_that_write_at_once_is_written_again(
    refusals: int, is_held: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [refusals]

    def put_contexts(self: MetadataStore, contexts: list[Context]) -> list[int]:
        if left[0]:
            left[0] -= 1
            raise errors.InternalError("PostgreSQL metadata source error: ERROR:  deadlock detected")
        return put(self, contexts)

    put = MetadataStore.put_contexts
    monkeypatch.setattr(MetadataStore, "put_contexts", put_contexts)
    held = lease(tmp_path, "run-1").held()
    if is_held:
        with held, pytest.raises(MiranteError, match="in use by run run-1"):
            lease(tmp_path, "run-2").held().__enter__()
    else:
        with pytest.raises(errors.InternalError, match="deadlock"):
            held.__enter__()


def test_a_root_has_its_own_lease(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path)
    with RootLease(store, "/a/root", "run-1", "Ingest").held():
        with RootLease(store, "/a/root#1", "run-2", "Ingest").held():
            pass
        with pytest.raises(MiranteError, match=r"^/a/root is in use by run run-1"):
            RootLease(store, "/a/root/", "run-2", "Ingest").held().__enter__()


def test_a_failed_task_frees_the_root_and_takes_it_again_when_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="broken"), lease(tmp_path, "run-1").held():
        raise ValueError("broken")
    with lease(tmp_path, "run-1").held():
        pass
    with pytest.raises(KeyboardInterrupt), lease(tmp_path, "run-1").held():
        raise KeyboardInterrupt
    # An interrupted task is tried again.
    with pytest.raises(MiranteError, match=r"in use by run run-1 .+ counts as gone in (119|120) s$"):
        lease(tmp_path, "run-2").held().__enter__()
    monkeypatch.setattr(root_lease, "GONE_SECS", 0.0)  # or never: then another run need not wait for long
    with lease(tmp_path, "run-2").held():
        pass


def test_a_task_that_waits_to_be_tried_again_keeps_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if a lost pod were gone at once: the wait itself counts.
    monkeypatch.setattr(root_lease, "GONE_SECS", 0.0)
    with (
        pytest.raises(ValueError, match="broken"),
        lease(tmp_path, "run-1").held(tried_again_after=lambda _: 60.0),
    ):
        raise ValueError("broken")
    with pytest.raises(MiranteError, match=r"Ingest on .+, tried again in 60 s.+ gone in (59|60) s$"):
        lease(tmp_path, "run-2").held().__enter__()
    with (
        pytest.raises(ValueError, match="broken"),
        lease(tmp_path, "run-1").held(tried_again_after=lambda _: 60.0),
    ):
        raise ValueError("broken")
    with lease(tmp_path, "run-1", "Pusher").held(ends_run=True, tried_again_after=lambda _: 60.0):
        pass
    with lease(tmp_path, "run-2").held():
        pass


def test_a_task_that_is_killed_loses_the_root_when_it_was_not_heard_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = hold(tmp_path, "run-1", 60)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(MiranteError, match="task Trainer on"):
        lease(tmp_path, "run-2").held().__enter__()
    # It is heard of as long as it lives, however long it takes.
    monkeypatch.setattr(root_lease, "GONE_SECS", 2.0)
    time.sleep(2.5)
    with pytest.raises(MiranteError, match=r"last heard of [01] s ago"):
        lease(tmp_path, "run-2").held().__enter__()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    time.sleep(2.5)
    with lease(tmp_path, "run-2").held():
        pass


def test_a_run_whose_root_was_taken_over_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root_lease, "BEAT_SECS", 0.2)
    former, other = lease(tmp_path, "run-1").held(), lease(tmp_path, "run-2").held()
    former.__enter__()
    monkeypatch.setattr(root_lease, "GONE_SECS", 0.0)
    other.__enter__()
    monkeypatch.setattr(root_lease, "GONE_SECS", 120.0)
    time.sleep(1)
    with pytest.raises(MiranteError, match="in use by run run-2"):
        former.__exit__(None, None, None)
    other.__exit__(None, None, None)


@pytest.mark.slow
def test_of_several_runs_that_begin_at_once_one_gets_the_root(tmp_path: Path) -> None:
    with lease(tmp_path, "before").held(ends_run=True):
        pass
    runs = [hold(tmp_path, f"run-{number}", 6) for number in range(4)]
    outputs = [run.communicate()[0] for run in runs]
    assert sorted(outputs) == ["", "", "", "held\n"]
    assert sorted(run.returncode for run in runs) == [0, 1, 1, 1]
