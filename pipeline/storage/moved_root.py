"""A pipeline root that was moved or copied: ML Metadata knows every artifact by its absolute path."""

import contextlib
import json
import re
import shutil
import sqlite3
from pathlib import Path

from pipeline.storage.metadata_store import METADATA_FILE

BEFORE_MOVE_FILE = f"{METADATA_FILE}.before-move"
# Texts with paths: of artifacts, and the options with which nodes were executed.
_TEXTS = (("Artifact", "uri"), ("ArtifactProperty", "string_value"), ("ExecutionProperty", "string_value"))


def replace_root(text: str, former: str, root: str) -> str:
    """Return a text with another root in every path below the former one, also where the text is JSON.

    Args:
        text: The text.
        former: A path.
        root: The path in its place.
    """
    old, new = (json.dumps(path)[1:-1] for path in (former, root))
    # Not in the middle of a longer path, nor of a longer name. JSON may be in JSON: \\".
    pattern = rf"(?<![^\s\"'=:,\[(])({re.escape(former)}|{re.escape(old)})(?![^/\s\"',\])\\])"

    def replace(found: re.Match[str]) -> str:
        is_json = found[0] != former or text.endswith('"', 0, found.start())
        return new if is_json else root

    # In one pass: the new path may begin with the former one.
    return re.sub(pattern, replace, text)


def follow_move(root: Path) -> str | None:
    """Bring the paths in a root's metadata store to where the root is now.

    Results in the cache and models in the root are then found again, as long as their files are those that
    were written. A copy of the store is kept. A copied root is independent of the original afterwards.

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
        db.create_function("replace_root", 1, lambda text: replace_root(text, former, str(root)))
        with db:  # one transaction
            for table, column in _TEXTS:
                db.execute(f"UPDATE {table} SET {column} = replace_root({column}) WHERE instr({column}, '/')")
    return (
        f"this root {_describe_change(Path(former), root)} {former}: its results and models are found in "
        f"their new place; {BEFORE_MOVE_FILE} is the metadata store of before"
    )


def _describe_change(former: Path, root: Path) -> str:
    other = former / METADATA_FILE
    is_copy = other.is_file() and not other.samefile(root / METADATA_FILE)
    return "is a copy, independent from now on, of" if is_copy else "was at"


def _former_root(db: sqlite3.Connection) -> str | None:
    """Return the root that the newest artifact is in: its path is <root>/<node>/<output>/<execution>."""
    try:
        row = db.execute(
            "SELECT uri FROM Artifact WHERE uri LIKE '/%/%/%/%' ORDER BY id DESC LIMIT 1"
        ).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else str(row[0]).rsplit("/", 3)[0]
