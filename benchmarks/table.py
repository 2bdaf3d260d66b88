"""The one format of results: rows that programs of this folder measure, as JSON and as a Markdown table.

A program calls `note_row` where it has medians to compare; it does nothing unless `benchmarks.bench` runs
the program. What failed is a row too.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Names the file that gets a line for each row.
ROWS_VARIABLE = "MIRANTE_BENCH_ROWS"
_HEAD = ("benchmark", "Mirante", "compared with", "ratio", "limit", "reached")
OK, MISSED, FAILED, NO_LIMIT = "yes", "**missed**", "**failed**", ""


@dataclasses.dataclass(frozen=True)
class Row:
    """The values that were measured of one thing.

    Attributes:
        what: The thing.
        unit: The unit of all values, such as s or images/s.
        ours: Mirante's values, one for each round.
        peer: What it is compared with; empty where the median of `ours` itself has the limit.
        theirs: Likewise, of the peer.
        limit: The goal for the ratio of the medians, ours / theirs; None for none.
        is_least: Whether the ratio has to be at least the limit, and not at most.
        failed: Why there are no values.
    """

    what: str
    unit: str = ""
    ours: Sequence[float] = ()
    peer: str = ""
    theirs: Sequence[float] = ()
    limit: float | None = None
    is_least: bool = False
    failed: str = ""

    @property
    def problem(self) -> str:
        """Return why the row says nothing; empty where it does."""
        if self.failed:
            return self.failed
        if not self.ours or (self.peer and not self.theirs):
            return "nothing was measured"
        if not all(map(math.isfinite, (*self.ours, *self.theirs))):
            return "a value is not finite"
        return "the peer took no time" if self.peer and statistics.median(self.theirs) == 0 else ""

    @property
    def value(self) -> float | None:
        """Return what is compared with the limit: the ratio of medians, or the median without a peer."""
        if self.problem:
            return None
        return statistics.median(self.ours) / (statistics.median(self.theirs) if self.peer else 1)

    @property
    def reached(self) -> str:
        """Return OK, MISSED, FAILED or NO_LIMIT."""
        value = self.value
        if value is None:
            return FAILED
        if self.limit is None:
            return NO_LIMIT
        return OK if (value >= self.limit if self.is_least else value <= self.limit) else MISSED


def note_row(row: Row) -> None:
    """Hand a row to `benchmarks.bench`, if that runs this program."""
    if file := os.environ.get(ROWS_VARIABLE):
        with open(file, "a", encoding="utf-8") as rows:
            rows.write(json.dumps(dataclasses.asdict(row)) + "\n")


def read_rows(file: Path) -> list[Row]:
    """Return the rows that a program noted; none if it noted none."""
    if not file.exists():
        return []
    return [Row(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def describe_row(row: Row) -> dict[str, Any]:
    """Return a row as JSON, with its medians, spreads, ratio and verdict."""
    found: dict[str, Any] = {**dataclasses.asdict(row), "failed": row.problem}
    for side in ("ours", "theirs"):
        values = [value for value in getattr(row, side) if math.isfinite(value)]
        found[side] = list(values)
        found[f"{side}_median"] = statistics.median(values) if values else None
    return {**found, "value": row.value, "reached": row.reached.strip("*")}


def format_table(parts: Mapping[str, Sequence[Row]]) -> str:
    """Return the Markdown table of all rows; a benchmark without rows has one that says so."""
    lines = ["| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    for part, rows in parts.items():
        for row in rows or [Row("")]:
            what = f"{part}: {row.what}" if row.what else part
            cells = [what, *_format_cells(row), row.reached]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _format_cells(row: Row) -> list[str]:
    limit = "" if row.limit is None else f"{'at least' if row.is_least else 'at most'} {row.limit:g}"
    if row.value is None:
        return [row.problem, row.peer, "", limit]
    theirs = f"{row.peer}: {_format_values(row.theirs, row.unit)}" if row.peer else ""
    return [_format_values(row.ours, row.unit), theirs, f"{row.value:.2f}" if row.peer else "", limit]


def _format_values(values: Sequence[float], unit: str) -> str:
    """Return the median, with the lowest and the highest where there are several."""
    median = f"{_format_number(statistics.median(values))} {unit}".strip()
    if len(values) == 1:
        return median
    return f"{median} ({_format_number(min(values))} to {_format_number(max(values))})"


def _format_number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
