"""What DataGate asks about classification: nothing besides what TFDV checks, one feature at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.data_gate.protocol import Values
from schemas import features

FACTS = ""
FEATURE = features.LABEL
DRAWING = ""


class Facts:
    """No counts: StatisticsGen has them."""

    def add(self, values: Values) -> None:
        """Count nothing."""

    def merge(self, other: Facts) -> None:
        """Add nothing."""

    def report(self) -> dict[str, Any]:
        """Return an empty report."""
        return {}


def find_problem(values: Values) -> str | None:
    """Return None: ExampleValidator finds the problems of single features."""
    return None


def draw(records: Sequence[bytes]) -> bytes | None:
    """Return None: there is nothing to draw."""
    return None
