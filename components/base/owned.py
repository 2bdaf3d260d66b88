"""Marks in folders that Mirante makes and removes: nothing is removed, or replaced, for its name alone."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from components.base.paths import write_atomically

# Not hidden: hidden files are not copied to buckets.
MARK = "made-by-mirante.json"


def mark_text(owner: str) -> str:
    """Return what the mark of a folder says: who may remove it."""
    return json.dumps({"made_by": "mirante", "owner": owner}) + "\n"


def is_mark(text: str, owner: str) -> bool:
    """Return whether a file's text is `mark_text` of an owner."""
    return _parsed(text).get("owner") == owner


def mark(folder: Path, owner: str) -> None:
    """Mark a folder, which is made where there is none yet."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / MARK, mark_text(owner))


def is_marked(folder: Path, owner: str) -> bool:
    """Return whether a folder has the mark of an owner."""
    return is_mark(_text(folder / MARK), owner)


def root_id(root: Path) -> str:
    """Return what identifies a pipeline root; it stays the same when the root is moved.

    The first call writes it to the root.
    """
    return str(root_facts(root)["id"])


def root_facts(root: Path) -> dict[str, Any]:
    """Return what a root's mark says: its `id`, and whatever `note` has added."""
    facts = _parsed(_text(root / MARK))
    if not isinstance(facts.get("id"), str):
        facts = {"made_by": "mirante", "id": uuid.uuid4().hex}
        root.mkdir(parents=True, exist_ok=True)
        write_atomically(root / MARK, json.dumps(facts) + "\n")
    return facts


def note(root: Path, **facts: Any) -> None:
    """Add facts to a root's mark."""
    write_atomically(root / MARK, json.dumps({**root_facts(root), **facts}) + "\n")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _parsed(text: str) -> dict[str, Any]:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) and read.get("made_by") == "mirante" else {}
