"""The table of networks in docs/models.md, written from `NETWORKS`: `make docs`."""

import re
from pathlib import Path

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


def format_table() -> str:
    """Return the table as Markdown."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(_cells(*row) for row in NETWORKS.items())]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def replace_table(page: str) -> str:
    """Return the page with today's table in place of the one that it has."""
    return re.sub(r"(?m)^\| `model\.name` \|.*\n(?:\|.*\n)*", lambda _: format_table(), page)


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
