"""The table of sources in docs/ingest.md, written from `SOURCES`: `make docs`."""

import re
from pathlib import Path

from components.base.task import task_named
from components.ingest.sources import SOURCES
from schemas import features

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ingest.md"


def format_table() -> str:
    """Return the table: what each source reads for each kind of records, and what else INPUT may be."""
    heads = ["source", *(task_named(kind).gives for kind in features.TASKS), "INPUT may also be"]
    rows = [heads, ["---"] * len(heads)]
    for name, source in SOURCES.items():
        files = [f"`{suffix}`" for suffix in source.suffixes]
        also = ", ".join([*files, *(["the name of a data set"] if source.takes_names else [])])
        rows.append([f"`{name}`", *(source.formats.get(kind, "") for kind in features.TASKS), also])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def replace_table(page: str) -> str:
    """Return the page with today's table in place of the one that it has."""
    return re.sub(r"(?m)^\| source \|.*\n(?:\|.*\n)*", lambda _: format_table(), page)


if __name__ == "__main__":
    PAGE.write_text(replace_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
