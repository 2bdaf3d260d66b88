"""A pipeline root that was moved or copied: ML Metadata knows every artifact by its absolute path."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

from pipeline.storage.metadata_store import METADATA_FILE

BEFORE_MOVE_FILE = f"{METADATA_FILE}.before-move"
_ADDRESSES = (("Artifact", "uri"), ("ArtifactProperty", "string_value"))


def follow_move(root: Path) -> str | None:
    """Bring the paths in a root's metadata store to where the root is now.

    The models in the root are then found again: as a baseline, and to start from. Results are not found in
    the cache, whose keys have the former paths: all nodes run again, once. A copy of the store is kept.

    Args:
        root: The root as TFX sees it; this process alone uses it.

    Returns:
        What was done, for people; None where the root was not moved, or has no store yet.
    """
    store = root / METADATA_FILE
    if not store.is_file():
        return None
    with contextlib.closing(sqlite3.connect(store)) as db:
        former = _former_root(db)
        if former is None or former == str(root):
            return None
        shutil.copyfile(store, root / BEFORE_MOVE_FILE)
        with db:  # one transaction
            for table, column in _ADDRESSES:
                db.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE substr({column}, 1, ?) = ?",
                    (str(root), len(former) + 1, len(former) + 1, f"{former}/"),
                )
    return (
        f"this root was at {former}: its models stay known, and every node runs again, since the cache knows "
        f"artifacts by their paths; {BEFORE_MOVE_FILE} is the metadata store of before"
    )


def _former_root(db: sqlite3.Connection) -> str | None:
    """Return the root that the newest artifact is in: its path is <root>/<node>/<output>/<execution>."""
    try:
        row = db.execute(
            "SELECT uri FROM Artifact WHERE uri LIKE '/%/%/%/%' ORDER BY id DESC LIMIT 1"
        ).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else str(row[0]).rsplit("/", 3)[0]
