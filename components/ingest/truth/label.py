"""The one class of an image."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from components.ingest.truth.counts import BoxCounts
from components.ingest.truth.truth import WholeImageTruth
from schemas import features

if TYPE_CHECKING:
    from components.base.example import FeatureValue


@dataclasses.dataclass(frozen=True)
class Label(WholeImageTruth):
    """The class of an image.

    Attributes:
        name: Its name.
    """

    task = features.CLASSIFICATION
    shown = "SELECT unit, split, truth AS name FROM items"
    shows = "truth = ?"
    conflict = "under more than one class"
    useless_options: ClassVar[Mapping[str, str]] = {
        "label_map": "it numbers the classes of boxes",
        "box_units": "it says what boxes count in",
    }

    name: str

    @property
    def classes(self) -> Sequence[str]:
        """The class."""
        return (self.name,)

    def to_text(self) -> str:
        """Return the class."""
        return self.name

    @classmethod
    def from_text(cls, text: str) -> Label:
        """Return the inverse of `to_text`."""
        return cls(text)

    def record_features(self, labels: Mapping[str, int]) -> dict[str, FeatureValue]:
        """Return the features of a record, from the labels of the classes by name."""
        return {self.label: labels[self.name], self.text: self.name.encode()}

    @classmethod
    def remarks(cls, db: sqlite3.Connection, class_names: Sequence[str]) -> list[str]:
        """Return a sentence if there is only one class."""
        if len(class_names) != 1:
            return []
        return [f"There is only one class, {class_names[0]!r}: there is nothing to tell apart."]

    @classmethod
    def images_by_class(cls, db: sqlite3.Connection, split: str, counts: BoxCounts) -> dict[str, int]:
        """Return how many images of a split each class has."""
        return dict(
            db.execute(
                "SELECT truth, count(*) FROM items WHERE rejected = 0 AND split = ? GROUP BY truth", (split,)
            )
        )
