"""A metadata store that is damaged: found, and taken back from the copy of the last run."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from components.base.errors import MiranteError
from components.base.os_errors import explain_os_error
from pipeline.storage import metadata_copy
from pipeline.storage.metadata_copy import (
    COPY_FILE,
    DAMAGED_FILE,
    keep_copy,
    pass_over_numbers,
    repair_store,
)
from pipeline.storage.metadata_store import METADATA_FILE


def make_store(root: Path, executions: int = 400) -> Path:
    """A store with ML Metadata's way of numbering, of several pages."""
    store = root / METADATA_FILE
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("CREATE TABLE Execution (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)")
        connection.executemany("INSERT INTO Execution (name) VALUES (?)", [("x" * 100,)] * executions)
    return store


def count(store: Path) -> int:
    with contextlib.closing(sqlite3.connect(store)) as connection:
        (number,) = connection.execute("SELECT count(*) FROM Execution").fetchone()
    return int(number)


def next_number(store: Path) -> int:
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        return int(connection.execute("INSERT INTO Execution (name) VALUES ('y')").lastrowid or 0)


def test_a_whole_store_is_left_alone(tmp_path: Path) -> None:
    assert repair_store(tmp_path) is None  # there is none yet
    store = make_store(tmp_path)
    before = store.read_bytes()
    keep_copy(tmp_path)
    assert repair_store(tmp_path) is None
    assert store.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([COPY_FILE, METADATA_FILE])
    assert count(tmp_path / COPY_FILE) == 400


@pytest.mark.parametrize("damage", [20_000, 100, 0])
def test_a_cut_store_is_taken_back(damage: int, tmp_path: Path) -> None:
    store = make_store(tmp_path)
    keep_copy(tmp_path)
    # Of a run after the copy, which the copy does not know.
    (tmp_path / "Trainer" / "model" / "450").mkdir(parents=True)
    with store.open("r+b") as file:
        file.truncate(damage)
    told = repair_store(tmp_path)
    assert told is not None
    assert told.startswith(f"{store} is damaged (")
    assert DAMAGED_FILE in told
    assert count(store) == 400
    assert next_number(store) == 451
    assert (tmp_path / DAMAGED_FILE).stat().st_size == damage
    assert repair_store(tmp_path) is None


def test_a_store_that_is_gone_is_taken_back(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    keep_copy(tmp_path)
    store.unlink()
    assert repair_store(tmp_path) == f"{store} is missing: the copy that the last run made was taken back"
    assert count(store) == 400
    assert repair_store(tmp_path) is None
    # A copy that is damaged too is no store.
    store.unlink()
    os.truncate(tmp_path / COPY_FILE, 20_000)
    assert repair_store(tmp_path) is None
    assert not store.exists()


def test_a_new_store_numbers_on_from_the_folders_that_are_there(tmp_path: Path) -> None:
    """As after `mv metadata.sqlite`: TFX fails where an execution's folder has files."""
    (tmp_path / "Trainer" / "model" / "450").mkdir(parents=True)
    (tmp_path / "serving" / "1795358001" / "variables").mkdir(parents=True)
    store = make_store(tmp_path, executions=0)
    pass_over_numbers(store)
    pass_over_numbers(store)
    assert next_number(store) == 451
    pass_over_numbers(store)
    assert next_number(store) == 452


def test_a_store_with_a_page_overwritten_is_found(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    keep_copy(tmp_path)
    with store.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 4096)
    assert repair_store(tmp_path) is not None
    assert count(store) == 400


def test_without_a_copy_it_says_how_to_start_anew(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    with store.open("r+b") as file:
        file.truncate(20_000)
    with pytest.raises(MiranteError, match=r"the metadata store is damaged .* there is no whole") as caught:
        repair_store(tmp_path)
    assert f"mv {store} {tmp_path / DAMAGED_FILE}" in str(caught.value)
    assert store.stat().st_size == 20_000


def test_a_damaged_store_is_not_copied(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    keep_copy(tmp_path)
    with store.open("r+b") as file:
        file.truncate(20_000)
    keep_copy(tmp_path)
    assert count(tmp_path / COPY_FILE) == 400


# Of more pages than the cache holds, so that some are in the file before the transaction ends.
KILLED_WITHIN_A_TRANSACTION = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size=2")
db.execute("BEGIN")
db.execute("UPDATE Execution SET name = name || name")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_had_begun_to_write_is_rolled_back(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    keep_copy(tmp_path)
    before = store.read_bytes()
    killed = subprocess.run([sys.executable, "-c", KILLED_WITHIN_A_TRANSACTION, store], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert store.read_bytes() != before
    assert Path(f"{store}-journal").stat().st_size > 0
    assert repair_store(tmp_path) is None
    assert store.read_bytes() == before
    assert not (tmp_path / DAMAGED_FILE).exists()


def test_a_store_that_is_locked_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata_copy, "_BUSY_SECS", 0.1)
    store = make_store(tmp_path)
    keep_copy(tmp_path)
    before = (tmp_path / COPY_FILE).read_bytes()
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        keep_copy(tmp_path)
        with pytest.raises(sqlite3.OperationalError, match="database is locked") as caught:
            repair_store(tmp_path)
        explained = explain_os_error(caught.value, [tmp_path])
        other.execute("ROLLBACK")
    assert (tmp_path / COPY_FILE).read_bytes() == before
    assert "another program has the metadata store open" in str(explained)
    assert f"`fuser {store}`" in str(explained)
