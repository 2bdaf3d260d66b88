"""What DataGate asks a task about its records: module `data_gate` of the task's room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

# The features of a record by name, as `components.base.example.parse_example` returns them.
Values = Mapping[str, list[Any]]


class Facts(Protocol):
    """Counts over records. They merge in any order to the same result."""

    def add(self, values: Values) -> None:
        """Count a record that has no problem."""

    def merge(self, other: Any) -> None:
        """Add the counts of another `Facts` of the same task."""

    def report(self) -> dict[str, Any]:
        """Return the counts as JSON, equal for the same records in any order."""


class TaskDataGate(Protocol):
    """The module `data_gate` of a task's room."""

    @property
    def FACTS(self) -> str:  # noqa: N802 - a constant of the module
        """Key of the facts in `report.json`; empty if the task looks at nothing besides the images."""

    @property
    def FEATURE(self) -> str:  # noqa: N802
        """Subject of the problems in messages: a feature, or the beginning of several names."""

    @property
    def DRAWING(self) -> str:  # noqa: N802
        """File name of the drawing in DataGate's output folder."""

    @property
    def Facts(self) -> type[Facts]:  # noqa: N802
        """Class of the counts."""

    def find_problem(self, values: Values) -> str | None:
        """Return the first problem of a record's labels; None if there is none."""

    def draw(self, records: Sequence[bytes]) -> bytes | None:
        """Return a PNG of records for users to look at; None if the task draws none.

        Args:
            records: Serialized examples.

        Raises:
            OSError, KeyError, ValueError, IndexError: A record has no usable image or labels.
        """
