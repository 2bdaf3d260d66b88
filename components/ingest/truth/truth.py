"""What a record says of its image: one class, several, or boxes. All that depends on it is asked here."""

from __future__ import annotations

import abc
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from components.ingest.readings import Sides, Size
from components.ingest.truth.counts import BoxCounts
from schemas import features

if TYPE_CHECKING:
    from typing_extensions import Self

    from components.base.example import FeatureValue


class WrongImageError(Exception):
    """The truth is about another image than this one; the message says why."""


class Placed(Protocol):
    """The truth of a stored image."""

    def record_features(self, labels: Mapping[str, int]) -> dict[str, FeatureValue]:
        """Return the features of the record, from the labels of the classes by name."""

    def count(self, path: str, counts: BoxCounts) -> None:
        """Add what is to be counted of the image to the counts."""


class Truth(abc.ABC):
    """The truth of an input image; the data of one ingest have one kind of it.

    The SQL is about the index's table `items`, whose column `truth` has `to_text()`.

    Attributes:
        task: The kind of the records, as `Task.records` has it.
        first_label: Label of the first class.
        label, text: Names of the features with the labels and with the names of the classes.
        shown: SQL that selects (unit, split, name) of each class that an image shows.
        shows: SQL that is true of items whose image shows a class, the parameter.
        order: SQL that orders records of equal bytes and path.
        called: SQL by which an image is called where copies of it differ in their truth.
        conflict: How such copies differ.
        useless_options: Options that say nothing about such data, and what they are for.
        includes: Kinds whose records are records of this kind, too.
    """

    task: ClassVar[str]
    first_label: ClassVar[int]
    label: ClassVar[str]
    text: ClassVar[str]
    shown: ClassVar[str]
    shows: ClassVar[str]
    order: ClassVar[str]
    called: ClassVar[str]
    conflict: ClassVar[str]
    useless_options: ClassVar[Mapping[str, str]] = {}
    includes: ClassVar[Sequence[str]] = ()

    @property
    @abc.abstractmethod
    def classes(self) -> Sequence[str]:
        """The classes that the image shows; one that is there twice is listed twice."""

    @abc.abstractmethod
    def to_text(self) -> str:
        """Return what the index keeps; equal truths give equal texts."""

    @classmethod
    @abc.abstractmethod
    def from_text(cls, text: str) -> Truth:
        """Return the inverse of `to_text`."""

    @abc.abstractmethod
    def place(self, upright: Size, orientation: int) -> Placed:
        """Return what the record says of the stored image.

        Args:
            upright: (width, height) in pixels of the image as it is seen.
            orientation: EXIF's, by which its file is turned.

        Raises:
            WrongImageError: It is about another image.
        """

    @classmethod
    def find_misreading(cls, texts: Iterator[str]) -> str | None:
        """Return what the data seem to be instead, and which option says so; None if they seem right.

        Args:
            texts: `to_text()` of every image.
        """
        return None

    @classmethod
    def find_emptiness(cls, db: sqlite3.Connection) -> str | None:
        """Return why nothing can be learned of the data; None if something can."""
        return None

    @classmethod
    def remarks(cls, db: sqlite3.Connection, class_names: Sequence[str]) -> list[str]:
        """Return a sentence for each thing that is odd about the classes."""
        return []

    @classmethod
    @abc.abstractmethod
    def images_by_class(cls, db: sqlite3.Connection, split: str, counts: BoxCounts) -> dict[str, int]:
        """Return how many images of a split show each class; classes without an image may be missing."""

    @classmethod
    def images_by_labels(cls, db: sqlite3.Connection) -> dict[int, int]:
        """Return the images with each number of classes; empty where that is no question."""
        return {}

    @classmethod
    def boxes_by_class(cls, counts: BoxCounts, class_names: Sequence[str]) -> dict[str, int]:
        """Return how many boxes each class has; empty for data without boxes."""
        return {}

    @classmethod
    def counted(cls, counts: BoxCounts) -> dict[str, Any] | None:
        """Return the counts of a shard as its manifest has them; None for data without boxes."""
        return None

    @classmethod
    def boxes_in(cls, values: Mapping[str, list[Any]]) -> list[Sides]:
        """Return (xmin, ymin, xmax, ymax) of each box of a record, from its features."""
        return []


class WholeImageTruth(Truth):
    """The truth of an image as a whole, which does not depend on its size; the index counts its classes."""

    first_label = 0
    label = features.LABEL
    text = features.LABEL_TEXT
    order = "truth, id"
    called = "path || ' (' || truth || ')'"

    def place(self, upright: Size, orientation: int) -> Self:
        """Return the same."""
        return self

    @abc.abstractmethod
    def record_features(self, labels: Mapping[str, int]) -> dict[str, FeatureValue]:
        """Return the features of the record, from the labels of the classes by name."""

    def count(self, path: str, counts: BoxCounts) -> None:
        """Add nothing."""
