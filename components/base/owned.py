"""Marks folders that Mirante makes, so that it never removes or replaces a folder only by its name."""

import json
import uuid
from pathlib import Path
from typing import Any

from components.base.paths import write_atomically

# Not hidden: hidden files are not copied to buckets.
MARK = "made-by-mirante.json"


def mark_text(owner: str) -> str:
    """Return the mark of a folder, which names its owner; only the owner may remove the folder."""
    return json.dumps({"made_by": "mirante", "owner": owner}) + "\n"


def is_mark(text: str, owner: str) -> bool:
    """Return whether a text is the mark of an owner."""
    return _parsed(text).get("owner") == owner


def mark(folder: Path, owner: str) -> None:
    """Mark a folder; creates it if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / MARK, mark_text(owner))


def is_marked(folder: Path, owner: str) -> bool:
    """Return whether a folder has the mark of an owner."""
    return is_mark(_text(folder / MARK), owner)


def root_id(root: Path) -> str:
    """Return the ID of a pipeline root, which stays the same when the root is moved.

    The first call writes it to the root.
    """
    return str(root_facts(root)["id"])


def find_root_id(root: Path) -> str | None:
    """Return the ID of a pipeline root; None if it has none yet."""
    found = _parsed(_text(root / MARK)).get("id")
    return found if isinstance(found, str) else None


def root_facts(root: Path) -> dict[str, Any]:
    """Return the facts in a root's mark: its `id`, and those that `note` has added."""
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
