"""The tables of networks in docs/models.md, written from their rows: `make docs`."""

import re
from collections.abc import Sequence
from pathlib import Path

from components.models.applications import APPLICATIONS, PREFIX, prefix_of
from components.models.networks import NETWORKS, Network

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
COLUMNS = (
    "`model.name`",
    "task",
    "input, px",
    "smallest, px",
    "parameters",
    "features",
    "published weights, their normalization",
    "source",
)
KERAS_COLUMNS = (
    "`keras/<Name>`",
    "input, px",
    "smallest, px",
    "parameters",
    "features",
    "pixels, `transform.normalization`",
    "images/s",
    "source",
)


def format_table() -> str:
    """Return the table of Mirante's own networks as Markdown."""
    return _format(COLUMNS, [_cells(*row) for row in NETWORKS.items() if not prefix_of(row[0])])


def format_applications() -> str:
    """Return the table of the networks of keras.applications as Markdown."""
    rows = [
        (
            f"`{PREFIX}{name}`",
            str(row.designed_px),
            str(row.smallest_px),
            f"{row.parameters / 1e6:.3g} M",
            str(row.features),
            f"`{row.normalization}`",
            f"{row.images_per_sec:.3g}" if row.images_per_sec else "not measured",
            row.source,
        )
        for name, row in APPLICATIONS.items()
    ]
    return _format(KERAS_COLUMNS, rows)


def replace_table(page: str) -> str:
    """Return the page with today's tables in place of those that it has."""
    for table in (format_table(), format_applications()):
        first = re.escape(table.partition(" | ")[0])
        former = re.search(rf"(?m)^{first} \|.*\n(?:\|.*\n)*", page)
        if former:
            page = f"{page[: former.start()]}{table}{page[former.end() :]}"
    return page


def _format(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(name: str, network: Network) -> tuple[str, ...]:
    return (
        f"`{name}`",
        network.task,
        str(network.designed_px),
        str(network.smallest_px),
        network.parameters,
        network.features,
        f"`{network.normalization}`" if network.normalization else "none",
        network.source,
    )


if __name__ == "__main__":
    PAGE.write_text(replace_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
