"""The classes of an image, any number of them."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from components.base.words import format_part
from components.ingest.files import label_of
from components.ingest.readings import Size
from components.ingest.truth.counts import BoxCounts
from components.ingest.truth.truth import Truth
from schemas import features

if TYPE_CHECKING:
    from components.base.example import FeatureValue


@dataclasses.dataclass(frozen=True)
class Labels(Truth):
    """All classes of an image; none for an image of no class.

    Attributes:
        names: Their names, sorted, each once.
    """

    task = features.MULTILABEL
    first_label = 0
    label = features.LABEL
    text = features.LABEL_TEXT
    shown = "SELECT unit, split, class.value AS name FROM items, json_each(items.truth) AS class"
    shows = "EXISTS (SELECT 1 FROM json_each(items.truth) WHERE value = ?)"
    order = "truth, id"
    called = "path || ' (' || truth || ')'"
    conflict = "with different classes"
    includes: ClassVar[Sequence[str]] = (features.CLASSIFICATION,)

    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(sorted(set(self.names))))

    @property
    def classes(self) -> Sequence[str]:
        """The classes."""
        return self.names

    def to_text(self) -> str:
        """Return the names as JSON."""
        return json.dumps(self.names, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> Labels:
        """Return the inverse of `to_text`."""
        return cls(tuple(json.loads(text)))

    def place(self, upright: Size, orientation: int) -> Labels:
        """Return the same: the classes of an image do not depend on its size."""
        return self

    def record_features(self, labels: Mapping[str, int]) -> dict[str, FeatureValue]:
        """Return the features of a record, from the labels of the classes by name."""
        names = sorted(self.names, key=labels.__getitem__)
        return {self.label: [labels[name] for name in names], self.text: [name.encode() for name in names]}

    def count(self, path: str, counts: BoxCounts) -> None:
        """Add nothing: the classes of images are counted in the index."""

    @classmethod
    def find_emptiness(cls, db: sqlite3.Connection) -> str | None:
        """Return that no image has a class; None if one has."""
        if db.execute("SELECT 1 FROM items WHERE rejected = 0 AND truth != '[]' LIMIT 1").fetchone():
            return None
        return "none of its images has a class, so there is nothing to learn. Is it the right folder?"

    @classmethod
    def remarks(cls, db: sqlite3.Connection, class_names: Sequence[str]) -> list[str]:
        """Return how many images have no class, if there are any."""
        total, without = db.execute(
            "SELECT count(*), total(truth = '[]') FROM items WHERE rejected = 0"
        ).fetchone()
        if not without:
            return []
        return [f"{format_part(int(without), total, 'image has', 'images have')} no class: they are kept."]

    @classmethod
    def images_by_class(cls, db: sqlite3.Connection, split: str, counts: BoxCounts) -> dict[str, int]:
        """Return how many images of a split show each class."""
        return dict(
            db.execute(
                "SELECT class.value, count(*) FROM items, json_each(items.truth) AS class "
                "WHERE rejected = 0 AND split = ? GROUP BY class.value",
                (split,),
            )
        )

    @classmethod
    def images_by_labels(cls, db: sqlite3.Connection) -> dict[int, int]:
        """Return the images with each number of classes, from the lowest number."""
        return dict(
            db.execute(
                "SELECT json_array_length(truth) AS number, count(*) FROM items WHERE rejected = 0 "
                "GROUP BY number ORDER BY number"
            )
        )


def read_labels(cell: str, separator: str, no_class: Collection[str] = ()) -> Labels:
    """Return the classes that a cell of a list, or the name of a folder, gives.

    Args:
        cell: Names with a separator between them, or a list of names as JSON or Python writes it.
        separator: The separator.
        no_class: A name that stands for no class.

    Raises:
        ValueError: The name that stands for no class is next to others.
    """
    parts = _read_list(cell) if cell.startswith("[") and cell.endswith("]") else cell.split(separator)
    names = [name for part in parts if (name := label_of(part))]
    some = [name for name in names if name not in no_class]
    if some and len(some) < len(names):
        stands = ", ".join(no_class)
        raise ValueError(f"{stands!r} stands for no class, and is listed with {', '.join(some)}")
    return Labels(tuple(some))


def _read_list(cell: str) -> list[str]:
    try:
        read = json.loads(cell)
    except ValueError:
        # As Python writes lists of texts.
        return [part.strip().strip("'\"") for part in cell[1:-1].split(",")]
    return [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in read]
