"""Mistakes and answers that are gathered in the pass over the test split which counts the metrics.

What tasks with classes for each image share; each task says what it keeps of an image. Imports no TensorFlow.
"""

from __future__ import annotations

import abc
import dataclasses
import gzip
import io
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from components.base.arrays import Array, pack_names, unpack_names
from components.base.table import format_table

if TYPE_CHECKING:
    from typing_extensions import Self

# The names under which TFMA's results have them, as bytes.
MISTAKES, PREDICTIONS = "mistakes", "predictions"
# The file of predictions in the evaluation's folder.
PREDICTIONS_FILE = "predictions.csv.gz"
# Small images of mistakes, likewise; see mistake_images.py.
MISTAKES_FOLDER = "mistakes"
# The most mistakes that are listed, so that a bad model on a large split does not fill the memory.
MOST_LISTED = 100_000


@dataclasses.dataclass
class GatheredMistakes:
    """Mistakes of a model, the worst first; a task adds `add` and `format`.

    Attributes:
        class_names: All classes, in the order of their labels; empty before the first batch.
        total: Number of images with mistakes.
        listed: The worst ones: how bad, the image's name, and what the task keeps.
    """

    class_names: tuple[str, ...] = ()
    total: int = 0
    listed: list[tuple[Any, ...]] = dataclasses.field(default_factory=list)

    def append(self, badness: float, image: str, *kept: object) -> None:
        """Add one mistake."""
        self.listed.append((badness, image, *kept))
        self.total += 1

    def merge(self, other: Self) -> None:
        """Add other mistakes of the same model."""
        self.class_names = self.class_names or other.class_names
        self.total += other.total
        self.listed += other.listed
        self.cut()

    def cut(self, most: int = 2 * MOST_LISTED) -> None:
        """Keep the worst mistakes if there are more than `most`."""
        if len(self.listed) > most:
            # The same ones in any order of the batches.
            self.listed.sort(key=lambda item: (-item[0], *item[1:]))
            del self.listed[MOST_LISTED:]

    def to_bytes(self) -> bytes:
        """Return them for TFMA's results."""
        self.cut(0)
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """Return what `to_bytes` made."""
        read = json.loads(stored)
        return cls(tuple(read["class_names"]), read["total"], [tuple(item) for item in read["listed"]])


@dataclasses.dataclass
class GatheredPredictions(abc.ABC):
    """Answers of a model to all images of a split; a task adds arrays with a row each, and `format`.

    Attributes:
        class_names: All classes, in the order of their labels; empty before the first batch.
        images: Names of the N images.
        are_too_many: Whether there were too many to keep, so that none is kept.
    """

    class_names: tuple[str, ...] = ()
    images: list[str] = dataclasses.field(default_factory=list)
    are_too_many: bool = dataclasses.field(default=False, kw_only=True)

    @abc.abstractmethod
    def _are_too_many_with(self, other: Self) -> bool:
        """Return whether these and the others are more than the task keeps."""

    @abc.abstractmethod
    def _list_keys(self) -> Iterable[Any]:
        """Return what the images are sorted by."""

    def _arrays(self) -> dict[str, Array | None]:
        common = {field.name for field in dataclasses.fields(GatheredPredictions)}
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in common
        }

    def merge(self, other: Self) -> None:
        """Add predictions of the same model for other images."""
        if not other.class_names:
            return
        if not self.class_names:
            self.__dict__.update(other.__dict__)
            return
        self.are_too_many |= other.are_too_many or self._are_too_many_with(other)
        if self.are_too_many:
            self.__dict__.update(type(self)(self.class_names, are_too_many=True).__dict__)
            return
        self.images = self.images + other.images
        others = other._arrays()
        for name, mine in self._arrays().items():
            theirs = others[name]
            both = None if mine is None or theirs is None else np.concatenate([mine, theirs])
            setattr(self, name, both)

    def to_bytes(self) -> bytes:
        """Return them for TFMA's results, in an order that does not depend on that of the batches."""
        keys = list(self._list_keys())
        order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            class_names=pack_names(self.class_names),
            images=pack_names([self.images[place] for place in order.tolist()]),
            are_too_many=np.array(self.are_too_many),
            **{name: array[order] for name, array in self._arrays().items() if array is not None},
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """Return what `to_bytes` made."""
        with np.load(io.BytesIO(stored), allow_pickle=False) as archive:
            values: dict[str, Any] = {name: archive[name] for name in archive.files}
        values["class_names"] = tuple(unpack_names(values["class_names"]))
        values["images"] = unpack_names(values["images"])
        values["are_too_many"] = bool(values["are_too_many"])
        return cls(**values)


def compress_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a compressed CSV table, without a time in it."""
    return gzip.compress(format_table(columns, list(rows)).encode("utf-8"), mtime=0)
