"""What a classifier learns: one label per image, logits of the classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from components.base.arrays import Array
from components.models.config import ModelConfig
from components.pictures.grid import Mark
from components.tasks.classification.guard import ClassificationGuard, Guessing
from components.tasks.classification.transform import LABEL
from components.trainer.augment.changes import Augment, make_augmenter
from components.trainer.augment.config import AugmentationConfig
from components.trainer.class_balance import class_weights, weigh
from components.trainer.config import GuardConfig, TrainingConfig
from components.trainer.guard import Pace
from components.trainer.result import StageResult
from components.transform.levels import Levels
from schemas import features

if TYPE_CHECKING:
    import keras
    import tensorflow_transform as tft

    from components.trainer.export import ServingModule


def make_trainee(
    class_names: Sequence[str],
    model: ModelConfig,
    training: TrainingConfig,
    input_shape: tuple[int, int, int],
) -> Classification:
    """Return what a classifier learns; see `components.trainer.trainee.TaskTrainer`."""
    return Classification(class_names, training)


class Classification:
    """Labels int64 [N], or float32 [N, classes] where images are mixed; outputs are logits [N, classes].

    Args:
        class_names: In the order of the labels.
        training: The recipe's part `training`.
    """

    metrics: Sequence[str] = ("accuracy",)
    words: Mapping[str, str] = {}
    record_spec: Mapping[str, Any] = {
        features.ENCODED: tf.io.FixedLenFeature([1], tf.string),
        features.LABEL: tf.io.FixedLenFeature([1], tf.int64),
    }
    looks_at_whole_images = True

    def __init__(self, class_names: Sequence[str], training: TrainingConfig | None = None):
        self.class_names = class_names
        self._training = training or TrainingConfig()
        self._loss = cross_entropy(self._training.label_smoothing)

    def labels(self, transformed: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return int64 [N]."""
        return transformed[LABEL]

    def labels_of_records(self, parsed: Mapping[str, Any], shapes: Mapping[str, tf.TensorShape]) -> tf.Tensor:
        """Return int64 [N]."""
        return tf.reshape(parsed[features.LABEL], [-1])

    def measure(self, labels: tf.Tensor, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `loss`, the cross-entropy, and `accuracy`, 1 or 0."""
        right = tf.equal(tf.argmax(outputs, axis=-1), class_of(labels))
        return {"loss": self._loss(labels, outputs), "accuracy": tf.cast(right, tf.float32)}

    def weigh_losses(
        self, losses: tf.Tensor, labels: tf.Tensor, outputs: tf.Tensor, weights: Array
    ) -> tf.Tensor:
        """Return the loss of each image, multiplied by the weight of its class."""
        return losses * weigh(labels, weights)

    def counts(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `predicted`: how often each class was predicted, float32 [classes] in the sum."""
        return {"predicted": tf.one_hot(tf.argmax(outputs, axis=-1), outputs.shape[-1])}

    def predict(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `classes` int64 [N], and `scores` float32 [N], the probability of each."""
        scores = tf.reduce_max(tf.nn.softmax(tf.cast(outputs, tf.float32)), axis=-1)
        return {"classes": tf.argmax(outputs, axis=-1), "scores": scores}

    def judge(self, labels: Array, predictions: Mapping[str, Array]) -> dict[str, float]:
        """Return nothing: accuracy is measured per example."""
        return {}

    def make_augmenter(self, config: AugmentationConfig, seed: int, levels: Levels | None) -> Augment | None:
        """Return what components/trainer/augment/changes.py makes."""
        return make_augmenter(config, seed, len(self.class_names), levels)

    def guard(
        self, config: GuardConfig, train_labels: Array, eval_labels: Array, pace: Pace | None = None
    ) -> ClassificationGuard:
        """Return the guard of components/tasks/classification/guard.py."""
        count, smoothing = len(self.class_names), self._training.label_smoothing
        # Balanced sampling draws every class equally often.
        drawn = np.unique(train_labels) if self._training.sampling == "balanced" else train_labels
        weights = class_weights(self._training, self.class_names, train_labels)
        return ClassificationGuard(
            config,
            Guessing.on(drawn, count, smoothing, weights),
            Guessing.on(eval_labels, count, smoothing),
            self.class_names,
            pace,
            len(train_labels),
        )

    def show(self, label: Array) -> tuple[str, list[Mark]]:
        """Return the class; for a mixed image its two largest shares, one per line."""
        if label.ndim == 0:
            return self.class_names[int(label)], []
        largest = [index for index in np.argsort(-label, kind="stable")[:2] if label[index] >= 0.005]
        if len(largest) == 1:
            return self.class_names[largest[0]], []
        return "\n".join(f"{label[index]:.0%} {self.class_names[index]}" for index in largest), []

    def mistakes(self, result: StageResult, labels: Array, count: int) -> list[tuple[int, str, list[Mark]]]:
        """Return the misclassified images with the highest scores, with true class, prediction and score."""
        classes, scores = (result.predictions[name] for name in ("classes", "scores"))
        wrong = np.flatnonzero(labels != classes)
        # Equal scores in the order of the examples, so that two runs show the same.
        worst = wrong[np.argsort(-scores[wrong], kind="stable")][:count]
        return [
            (
                int(place),
                f"{self.class_names[labels[place]]}\ntaken for {self.class_names[classes[place]]} "
                f"({scores[place]:.2f})",
                [],
            )
            for place in worst
        ]

    def calibrate(self, labels: Array, evaluate: Callable[[], StageResult]) -> None:
        """Choose nothing: the answer is the most probable class."""

    def serving(self, model: keras.Model, tft_output: tft.TFTransformOutput) -> ServingModule:
        """Return the module that serves probabilities with their class names."""
        from components.tasks.classification.serving import ClassificationModule

        return ClassificationModule(model, tft_output, list(self.class_names))


# (labels int [N] or float [N, classes], logits [N, classes]) -> loss float32 [N]
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def cross_entropy(smoothing: float) -> Loss:
    """Return the cross-entropy of logits against labels int [N], or float [N, classes] of mixed images.

    Args:
        smoothing: The recipe's `training.label_smoothing`.
    """

    def loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        logits = tf.cast(logits, tf.float32)
        if labels.shape.rank == 1 and not smoothing:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        if labels.shape.rank == 1:
            labels = tf.one_hot(labels, logits.shape[-1])
        labels = labels * (1.0 - smoothing) + smoothing / logits.shape[-1]
        return tf.nn.softmax_cross_entropy_with_logits(labels, logits)

    return loss


def class_of(labels: tf.Tensor) -> tf.Tensor:
    """Return int64 [N]: the label, or the larger part of a mixed one."""
    return tf.cast(labels, tf.int64) if labels.shape.rank == 1 else tf.argmax(labels, axis=-1)
