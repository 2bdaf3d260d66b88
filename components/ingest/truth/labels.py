"""The classes of an image, any number of them."""

from __future__ import annotations

import ast
import dataclasses
import io
import json
import sqlite3
import tokenize
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from components.base.words import format_part
from components.ingest.files import label_of
from components.ingest.truth.counts import BoxCounts
from components.ingest.truth.truth import WholeImageTruth
from components.ingest.values import brief
from schemas import features

if TYPE_CHECKING:
    from components.base.example import FeatureValue


@dataclasses.dataclass(frozen=True)
class Labels(WholeImageTruth):
    """All classes of an image; none for an image of no class.

    Attributes:
        names: Their names, sorted, each once.
    """

    task = features.MULTILABEL
    shown = "SELECT unit, split, class.value AS name FROM items, json_each(items.truth) AS class"
    shows = "EXISTS (SELECT 1 FROM json_each(items.truth) WHERE value = ?)"
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

    def record_features(self, labels: Mapping[str, int]) -> dict[str, FeatureValue]:
        """Return the features of a record, from the labels of the classes by name."""
        names = sorted(self.names, key=labels.__getitem__)
        return {self.label: [labels[name] for name in names], self.text: [name.encode() for name in names]}

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


def read_labels(cell: str, separator: str) -> Labels:
    """Return the classes that a cell of a list, or the name of a folder, gives.

    Args:
        cell: Names with a separator between them, or a list of names as JSON or Python writes it.
        separator: The separator.

    Raises:
        ValueError: The list cannot be read, or has something that is no name.
    """
    parts = _read_list(cell) if cell.startswith("[") and cell.endswith("]") else cell.split(separator)
    return Labels(tuple(name for part in parts if (name := label_of(part))))


def _read_list(cell: str) -> list[str]:
    """Return the names in a list of JSON or Python; null and None count for nothing."""
    try:
        read = json.loads(cell)
    except (ValueError, RecursionError):
        read = _read_python(cell)
    names = []
    for each in read:
        if isinstance(each, bool) or not isinstance(each, str | int | None):
            raise ValueError(f"expected a list of classes, got {brief(each)} in {brief(cell)}")
        if each is not None:
            names.append(str(each))
    return names


def _read_python(cell: str) -> Sequence[object]:
    try:
        read = ast.literal_eval(cell)
        texts = [
            one for one in tokenize.generate_tokens(io.StringIO(cell).readline) if one.type == tokenize.STRING
        ]
    except (ValueError, SyntaxError, MemoryError, RecursionError, tokenize.TokenError):
        read, texts = None, []
    # Python reads 'a' 'b' as one text; that is how NumPy writes two.
    if not isinstance(read, list) or len(texts) > len(read):
        raise ValueError(
            "expected a list of classes as JSON or Python writes it, such as ['cat', 'dog'], got "
            f"{brief(cell)}"
        )
    return read
