"""The copy of a root's metadata store: made at the end of each run, taken back when the store is damaged."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

from components.base.errors import MiranteError
from components.base.words import quote
from pipeline.storage.metadata_store import METADATA_FILE

COPY_FILE = "metadata.copy.sqlite"
DAMAGED_FILE = "metadata.damaged.sqlite"
# What another process does with the store takes less.
_BUSY_SECS = 20.0


def repair_store(root: Path) -> str | None:
    """Look at the metadata store of a root, and take its copy back where it is damaged or missing.

    Args:
        root: Of a pipeline; this process alone uses it.

    Returns:
        What was found and done, for people; None where the store is whole, or there is none.

    Raises:
        MiranteError: It is damaged and there is no copy; says how to start anew.
    """
    store, copy = root / METADATA_FILE, root / COPY_FILE
    if not store.is_file():
        if not copy.is_file() or _find_problem(copy) is not None:
            return None
        _take_back(copy, store)
        return f"{store} is missing: the copy that the last run made was taken back"
    problem = _find_problem(store)
    if problem is None and not (_is_empty(store) and copy.is_file()):
        return None
    problem = problem or "it is empty"
    if not copy.is_file() or _find_problem(copy) is not None:
        move = quote("mv", str(store), str(root / DAMAGED_FILE))
        raise MiranteError(
            f"{store}: the metadata store is damaged ({problem}), and there is no whole copy of it. To start "
            f"anew, move it away and run the same command again: {move}. All nodes "
            f"then run again; pushed models stay where they are"
        )
    shutil.copyfile(store, root / DAMAGED_FILE)
    _take_back(copy, store)
    return (
        f"{store} is damaged ({problem}): the copy that the last run made was taken back, what it does not "
        f"know runs again; the damaged file is {DAMAGED_FILE}"
    )


def keep_copy(root: Path) -> None:
    """Copy the metadata store of a root, if it is whole; the copy of before stays where that fails."""
    store, temporary = root / METADATA_FILE, root / f".{COPY_FILE}"
    # The disk may be full, or somebody may have the store open: the next run makes another copy.
    with contextlib.suppress(sqlite3.Error, OSError):
        if store.is_file() and _find_problem(store) is None and not _is_empty(store):
            source, target = _open(store), sqlite3.connect(temporary)
            with contextlib.closing(source), contextlib.closing(target):
                source.backup(target)
            temporary.replace(root / COPY_FILE)
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)


def _take_back(copy: Path, store: Path) -> None:
    temporary = store.with_name(f".{store.name}")
    shutil.copyfile(copy, temporary)
    pass_over_numbers(temporary)
    # A journal of the damaged one would be played back into the copy.
    Path(f"{store}-journal").unlink(missing_ok=True)
    temporary.replace(store)


def _open(store: Path) -> sqlite3.Connection:
    # Not read-only: what a killed process had begun to write is rolled back when the store is read.
    return sqlite3.connect(f"{store.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECS)


def _find_problem(store: Path) -> str | None:
    """Return what SQLite finds wrong with a file; None where nothing is."""
    try:
        with contextlib.closing(_open(store)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        raise  # locked, or not ours to read
    except sqlite3.DatabaseError as e:
        return str(e)
    return None if found == "ok" else " ".join(str(found).split())


def _is_empty(store: Path) -> bool:
    with contextlib.closing(_open(store)) as connection:
        return connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def pass_over_numbers(store: Path) -> None:
    """Have new executions take numbers that no folder of the root has: of some the store may not know.

    TFX would write the files of an execution between those of a former one, or fail since they are there.

    Args:
        store: In the root; with the tables of ML Metadata.
    """
    folders = (path.name for path in store.parent.glob("*/*/*"))
    largest = max((int(name) for name in folders if name.isascii() and name.isdigit()), default=0)
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'Execution'").fetchone()
        if row is None:
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('Execution', ?)", (largest,))
        elif row[0] < largest:
            connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'Execution'", (largest,))
