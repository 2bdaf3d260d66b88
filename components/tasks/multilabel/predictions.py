"""What a model says about each test image. Intervals and the counts of pairs of classes are made of it.

Like the list of mistakes it is gathered in the pass over the test split. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import gzip
import io

import numpy as np

from components.base.arrays import Array, pack_names, unpack_names
from components.base.table import format_table
from components.tasks.multilabel.mistakes import SEPARATOR

# The name under which TFMA's results have them, as bytes.
PREDICTIONS = "predictions"
# The most decisions that are kept, so that a large split does not fill the memory: 5 bytes each.
MOST_DECISIONS = 8_000_000
FILE = "predictions.csv.gz"
COLUMNS = ("image", "true", "predicted")


@dataclasses.dataclass
class Predictions:
    """Answers of a model to all images of a split.

    Attributes:
        class_names: All classes, in the order of their labels; empty before the first batch.
        images: Names of the N images.
        truth: Whether an image has a class, bool [N, classes].
        predicted: Whether it gets the label, likewise.
        probabilities: float32 [N, classes].
        are_too_many: Whether there were more than MOST_DECISIONS, so that none is kept.
    """

    class_names: tuple[str, ...] = ()
    images: list[str] = dataclasses.field(default_factory=list)
    truth: Array = dataclasses.field(default_factory=lambda: np.zeros((0, 0), bool))
    predicted: Array = dataclasses.field(default_factory=lambda: np.zeros((0, 0), bool))
    probabilities: Array = dataclasses.field(default_factory=lambda: np.zeros((0, 0), np.float32))
    are_too_many: bool = False

    def merge(self, other: Predictions) -> None:
        """Add predictions of the same model for other images."""
        if not other.class_names:
            return
        if not self.class_names:
            self.__dict__.update(other.__dict__)
            return
        total = self.truth.size + other.truth.size
        self.are_too_many |= other.are_too_many or total > MOST_DECISIONS
        if self.are_too_many:
            self.__dict__.update(Predictions(self.class_names, are_too_many=True).__dict__)
            return
        self.images = self.images + other.images
        for name in ("truth", "predicted", "probabilities"):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(other, name)]))

    def to_bytes(self) -> bytes:
        """Return them for TFMA's results, in an order that does not depend on that of the batches."""
        keys = [
            (name, truth.tobytes(), found.tobytes())
            for name, truth, found in zip(self.images, self.truth, self.probabilities, strict=True)
        ]
        order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            class_names=pack_names(self.class_names),
            images=pack_names([self.images[place] for place in order.tolist()]),
            truth=self.truth[order],
            predicted=self.predicted[order],
            probabilities=self.probabilities[order],
            are_too_many=np.array(self.are_too_many),
        )
        return buffer.getvalue()

    @staticmethod
    def from_bytes(stored: bytes) -> Predictions:
        """Return what `to_bytes` made."""
        with np.load(io.BytesIO(stored), allow_pickle=False) as archive:
            values = {name: archive[name] for name in archive.files}
        values["class_names"] = tuple(unpack_names(values["class_names"]))
        values["images"] = unpack_names(values["images"])
        values["are_too_many"] = bool(values["are_too_many"])
        return Predictions(**values)

    def format(self) -> bytes:
        """Return them as a compressed CSV table with the probability of each class, without a time in it."""
        rows = [
            (
                image,
                *(SEPARATOR.join(self.class_names[i] for i in np.flatnonzero(row)) for row in (true, found)),
                *(round(float(score), 6) if np.isfinite(score) else "" for score in scores),
            )
            for image, true, found, scores in zip(
                self.images, self.truth, self.predicted, self.probabilities, strict=True
            )
        ]
        text = format_table((*COLUMNS, *self.class_names), rows)
        return gzip.compress(text.encode("utf-8"), mtime=0)
