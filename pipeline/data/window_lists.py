"""The lists of a window, from those of its spans: rejects.csv, left_out.csv and copies.csv."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from components.base.table import read_table
from components.ingest.copies import Copy, copies_bytes
from components.ingest.manifest import (
    COPIES,
    LEFT_OUT,
    REJECTS,
    rejects_bytes,
    write_list,
    write_lists,
)
from pipeline.data.leaks import Leaks


def write_span_lists(
    spans: Sequence[Path],
    prefixes: Sequence[str],
    leaks: Leaks,
    target: Path,
) -> str:
    """Write rejects.csv, left_out.csv and copies.csv of all spans, with paths relative to the window's input.

    Args:
        spans: The folders of the spans.
        prefixes: Of their paths (`pipeline.data.window_names.find_prefixes`).
        leaks: Records that the window leaves out.
        target: The window's folder.

    Returns:
        The SHA-256 of rejects.csv.
    """
    rejects: list[tuple[str, str]] = []
    left_out: list[tuple[str, str]] = []
    copies: list[Copy] = []
    for span, prefix in zip(spans, prefixes, strict=True):
        rejects += [(prefix + row["path"], row["reason"]) for row in _read_list(span / REJECTS)]
        left_out += [(prefix + row["path"], row["reason"]) for row in _read_list(span / LEFT_OUT)]
        left_out += [
            (prefix + leak.filename, f"in {leak.split}, and in {leak.other} of another span of the window")
            for path, of_shard in leaks.items()
            if path.parent == span
            for leak in of_shard.values()
        ]
        known = max((copy.group for copy in copies), default=0)
        copies += [
            Copy(
                known + int(row["group"]),
                prefix + row["path"],
                row["split"],
                row["labels"],
                row["alike"],
                row["to"] and prefix + row["to"],
            )
            for row in _read_list(span / COPIES)
        ]
    listed = rejects_bytes(rejects)
    write_lists(target, listed, left_out)
    write_list(target / COPIES, copies_bytes(copies) if copies else b"")
    return hashlib.sha256(listed).hexdigest()


def _read_list(path: Path) -> list[dict[str, str]]:
    return read_table(path.read_text(encoding="utf-8")) if path.is_file() else []
