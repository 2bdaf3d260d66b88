"""What a classifier says about each test image. The intervals and the calibration curve are made of it.

Like the list of mistakes it is gathered in the pass over the test split. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
from collections.abc import Sequence

import numpy as np

from components.base.arrays import Array, pack_names, unpack_names
from components.base.table import format_table
from components.tasks.classification.metrics import EPSILON, predict_classes

# The name under which TFMA's results have them, as bytes.
PREDICTIONS = "predictions"
# The most images and probabilities that are kept, so that a large split does not fill the memory.
MOST_IMAGES, MOST_PROBABILITIES = 500_000, 1_000_000
FILE = "predictions.csv.gz"
COLUMNS = ("image", "true_class", "predicted_class", "score", "loss")


@dataclasses.dataclass
class Predictions:
    """Answers of a model to all images of a split.

    Attributes:
        class_names: All classes, in the order of their labels; empty before the first batch.
        images: Names of the N images.
        labels: True classes, int [N].
        predicted: Predicted classes, int [N]; -1 where a probability is not a number.
        scores: Probabilities of the predicted classes, float32 [N]; -1 in the same case.
        losses: Cross-entropies in nats, float32 [N]; nan in the same case.
        probabilities: float32 [N, classes]; None if there were more than MOST_PROBABILITIES.
        are_too_many: Whether there were more than MOST_IMAGES, so that none is kept.
    """

    class_names: tuple[str, ...] = ()
    images: list[str] = dataclasses.field(default_factory=list)
    labels: Array = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    predicted: Array = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    scores: Array = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    losses: Array = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    probabilities: Array | None = None
    are_too_many: bool = False

    def merge(self, other: Predictions) -> None:
        """Add predictions of the same model for other images."""
        if not other.class_names:
            return
        if not self.class_names:
            self.__dict__.update(other.__dict__)
            return
        self.are_too_many |= other.are_too_many or len(self.images) + len(other.images) > MOST_IMAGES
        if self.are_too_many:
            self.__dict__.update(Predictions(self.class_names, are_too_many=True).__dict__)
            return
        self.images = self.images + other.images
        for name in ("labels", "predicted", "scores", "losses"):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(other, name)]))
        if len(self.images) * len(self.class_names) > MOST_PROBABILITIES:
            self.probabilities = None
        elif self.probabilities is not None and other.probabilities is not None:
            self.probabilities = np.concatenate([self.probabilities, other.probabilities])
        else:
            self.probabilities = None

    def to_bytes(self) -> bytes:
        """Return them for TFMA's results, in an order that does not depend on that of the batches."""
        keys = [
            *zip(
                self.images, self.labels.tolist(), self.scores.tolist(), self.predicted.tolist(), strict=True
            )
        ]
        order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
        buffer = io.BytesIO()
        kept = {"probabilities": self.probabilities[order]} if self.probabilities is not None else {}
        np.savez_compressed(
            buffer,
            class_names=pack_names(self.class_names),
            images=pack_names([self.images[place] for place in order.tolist()]),
            labels=self.labels[order],
            predicted=self.predicted[order],
            scores=self.scores[order],
            losses=self.losses[order],
            are_too_many=np.array(self.are_too_many),
            **kept,
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
        """Return them as a compressed CSV table, without a time in it."""
        rows = zip(
            self.images,
            self.labels.tolist(),
            self.predicted.tolist(),
            self.scores.tolist(),
            self.losses.tolist(),
            strict=True,
        )
        text = format_table(
            COLUMNS,
            [
                (image, self.class_names[true], "", "", "")
                if predicted < 0
                else (
                    image,
                    self.class_names[true],
                    self.class_names[predicted],
                    round(score, 6),
                    round(loss, 6),
                )
                for image, true, predicted, score, loss in rows
            ],
        )
        return gzip.compress(text.encode("utf-8"), mtime=0)


def predict(
    class_names: tuple[str, ...], images: Sequence[str], labels: Array, probabilities: Array
) -> Predictions:
    """Return the predictions of a batch.

    Args:
        class_names: All classes, in the order of their labels.
        images: Names of the N images.
        labels: int [N].
        probabilities: float [N, classes].
    """
    labels, probabilities = np.asarray(labels, np.int64), np.asarray(probabilities, np.float32)
    predicted = predict_classes(probabilities)
    rows, are_numbers = np.arange(len(labels)), predicted >= 0
    clipped = np.clip(np.where(are_numbers[:, None], probabilities, 0.5), EPSILON, 1.0 - EPSILON)
    losses = np.log(clipped.sum(axis=1)) - np.log(clipped[rows, labels])
    return Predictions(
        class_names,
        list(images),
        labels,
        predicted,
        np.where(are_numbers, probabilities[rows, predicted], np.float32(-1.0)),
        np.where(are_numbers, losses, np.float32(np.nan)).astype(np.float32),
        probabilities if probabilities.size <= MOST_PROBABILITIES else None,
    )
