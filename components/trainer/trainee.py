"""What a network is trained for: how its outputs are held against labels, and what is told of it.

The loop, its steps and its input know no more of it than stands here. There are two: classification.py, and
components/tasks/detection/trainer.py. Labels of N examples are one tensor [N, ...], outputs another one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tensorflow as tf

from components.trainer.augment.changes import Augment
from components.trainer.augment.config import AugmentationConfig
from components.trainer.config import GuardConfig
from components.trainer.guard import Guard, Pace
from components.transform.levels import Levels

if TYPE_CHECKING:
    import keras
    import tensorflow_transform as tft

    from components.trainer.export import ServingModule

Array = np.ndarray[Any, Any]
# A box (xmin, ymin, xmax, ymax as shares of the image), what is written at it, and its label, 1 and up.
Mark = tuple[Sequence[float], str, int]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation gives.

    Attributes:
        loss: Mean over the examples, as in training.
        metrics: By name, without `loss`: the task's `metrics`, then what its `judge` gives.
        totals: Sums over the examples of what the task's `counts` gives.
        rows: The examples that this process evaluated, int64 [N]; all of them, unless it is one of several.
        predictions: What the task's `predict` gives for each of them, [N, ...] by name.
        loss_error: Standard error of `loss`, by how much it differs between examples.
    """

    loss: float
    metrics: dict[str, float]
    totals: dict[str, Array]
    rows: Array
    predictions: dict[str, Array]
    loss_error: float = 0.0


class Task(Protocol):
    """What differs between tasks.

    Attributes:
        class_names: In the order of the labels.
        metrics: Names of what `measure` gives beside `loss`, in the order in which they are told.
        words: What a line of the log calls a metric, where not by its name.
        record_spec: What of a record goes through the Transform graph.
        looks_at_whole_images: Whether a head takes one feature vector of each image, which can be kept.
    """

    class_names: Sequence[str]
    metrics: Sequence[str]
    words: Mapping[str, str]
    record_spec: Mapping[str, Any]
    looks_at_whole_images: bool

    def labels(self, transformed: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The labels [N, ...] in what the Transform graph gives."""
        ...

    def labels_of_records(self, parsed: Mapping[str, Any], shapes: Mapping[str, tf.TensorShape]) -> tf.Tensor:
        """The same of parsed records, images not decoded; `shapes` are those of what Transform gives."""
        ...

    def measure(self, labels: tf.Tensor, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """`loss`, by which is trained, and `metrics`: of each example, float32 [N]; under XLA too."""
        ...

    def counts(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """What is to be summed over the examples of an evaluation, float32 [N, ...] by name."""
        ...

    def predict(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """What each example of an evaluation is taken for, [N, ...] by name."""
        ...

    def judge(self, labels: Array, predictions: Mapping[str, Array]) -> dict[str, float]:
        """Metrics of all examples together, where one process has evaluated all."""
        ...

    def augmenter(self, config: AugmentationConfig, seed: int, levels: Levels | None) -> Augment | None:
        """What varies training batches; None where nothing does."""
        ...

    def guard(
        self, config: GuardConfig, train_labels: Array, eval_labels: Array, pace: Pace | None = None
    ) -> Guard:
        """What stops a training that learns nothing."""
        ...

    def show(self, label: Array) -> tuple[str, list[Mark]]:
        """What is written below an image with this label, and the boxes that are drawn on it."""
        ...

    def mistakes(
        self, evaluation: Evaluation, labels: Array, count: int
    ) -> list[tuple[int, str, list[Mark]]]:
        """The worst mistakes: places in `evaluation.rows`, what is written below them, and their boxes."""
        ...

    def serving(self, model: keras.Model, tft_output: tft.TFTransformOutput) -> ServingModule:
        """What is exported of the network."""
        ...
