"""What the Trainer and the Tuner ask of a task: the module `trainer` of its room, and the trainee it makes.

The loop, its steps and its input know no more of a task than this. Labels of N examples are one tensor
[N, ...], outputs of the network another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import tensorflow as tf

from components.base.arrays import Array
from components.models.config import ModelConfig
from components.pictures.grid import Mark
from components.trainer.augment.changes import Augment
from components.trainer.augment.config import AugmentationConfig
from components.trainer.config import GuardConfig, TrainingConfig
from components.trainer.guard import Guard, Pace
from components.trainer.result import StageResult
from components.transform.levels import Levels

if TYPE_CHECKING:
    import keras
    import tensorflow_transform as tft

    from components.trainer.export import ServingModule


class TaskTrainer(Protocol):
    """The module `trainer` of a task's room."""

    def make_trainee(
        self,
        class_names: Sequence[str],
        model: ModelConfig,
        training: TrainingConfig,
        input_shape: tuple[int, int, int],
    ) -> Trainee:
        """Return what is learned.

        Args:
            class_names: In the order of the labels.
            model: The recipe's part `model`.
            training: The recipe's part `training`.
            input_shape: Height and width in pixels, and channels.
        """
        ...


class Trainee(Protocol):
    """The object of a training: reads labels, measures outputs, and shows both.

    Attributes:
        class_names: In the order of the labels.
        metrics: Names of what `measure` gives besides `loss`, in the order in which they are logged.
        words: The words for a metric in the log, where they are not its name.
        record_spec: The features of a record that go through the Transform graph.
        looks_at_whole_images: Whether the head takes one feature vector per image, which can be kept.
    """

    class_names: Sequence[str]
    metrics: Sequence[str]
    words: Mapping[str, str]
    record_spec: Mapping[str, Any]
    looks_at_whole_images: bool

    def labels(self, transformed: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the labels [N, ...] in what the Transform graph gives."""
        ...

    def labels_of_records(self, parsed: Mapping[str, Any], shapes: Mapping[str, tf.TensorShape]) -> tf.Tensor:
        """Return the same labels from parsed records, without decoding images.

        Args:
            parsed: Features as `record_spec` has them.
            shapes: The shapes of what Transform gives.
        """
        ...

    def measure(self, labels: tf.Tensor, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `loss`, which training lowers, and `metrics` per example, float32 [N]; under XLA too."""
        ...

    def weigh_losses(
        self, losses: tf.Tensor, labels: tf.Tensor, outputs: tf.Tensor, weights: Array
    ) -> tf.Tensor:
        """Return the training losses float32 [N] where classes have weights, float [classes].

        Args:
            losses: The `loss` of `measure`, float32 [N].
            labels: [N, ...].
            outputs: Of the network.
            weights: See `components.trainer.class_balance.class_weights`.
        """
        ...

    def counts(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return counts to sum over the examples of an evaluation, float32 [N, ...] by name."""
        ...

    def predict(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the prediction for each example of an evaluation, [N, ...] by name."""
        ...

    def judge(self, labels: Array, predictions: Mapping[str, Array]) -> dict[str, float]:
        """Return metrics of all examples together, where one process has evaluated all of them."""
        ...

    def make_augmenter(self, config: AugmentationConfig, seed: int, levels: Levels | None) -> Augment | None:
        """Return the function that varies training batches; None where nothing is varied."""
        ...

    def guard(
        self, config: GuardConfig, train_labels: Array, eval_labels: Array, pace: Pace | None = None
    ) -> Guard:
        """Return the guard that stops a training that learns nothing."""
        ...

    def show(self, label: Array) -> tuple[str, list[Mark]]:
        """Return the caption of an image with this label, and the boxes to draw on it."""
        ...

    def mistakes(self, result: StageResult, labels: Array, count: int) -> list[tuple[int, str, list[Mark]]]:
        """Return the worst mistakes: their places in `result.rows`, their captions, and their boxes."""
        ...

    def calibrate(self, labels: Array, evaluate: Callable[[], StageResult]) -> None:
        """Choose what the answers need besides the network, on the examples that steered the training.

        Args:
            labels: Those of the examples, [N, ...].
            evaluate: Evaluates the trained network on them.
        """
        ...

    def serving(self, model: keras.Model, tft_output: tft.TFTransformOutput) -> ServingModule:
        """Return the module that is exported."""
        ...
