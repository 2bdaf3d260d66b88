"""Rejects and the like, put together by their reasons."""

import re
from collections.abc import Iterable

from pipeline.inspection.facts import Group

# What differs between reasons of one kind: where in a list, names in quotes, numbers.
_PARTICULARS = (
    re.compile(r" ?\([^()]* line \d+\)"),
    re.compile(r"'[^']*'|\"[^\"]*\""),
    re.compile(r"\d+(?:\.\d+)?"),
)


def group_by_reason(rows: Iterable[tuple[str, str]]) -> list[Group]:
    """Return groups of (path, reason), the largest first; each is called by the reason of its first row.

    Reasons are of one kind if they differ only in numbers, in quoted names, or in where a list says so.
    """
    paths: dict[str, list[str]] = {}
    called: dict[str, str] = {}
    for path, reason in rows:
        kind = reason
        for particulars in _PARTICULARS:
            kind = particulars.sub("#", kind)
        paths.setdefault(kind, []).append(path)
        called.setdefault(kind, reason)
    groups = [Group.of(called[kind], found) for kind, found in paths.items()]
    return sorted(groups, key=lambda group: (-group.count, group.what))
