"""What a network for multilabel classification learns: labels of each image, a logit of each class."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from components.base.arrays import Array
from components.models.config import ModelConfig
from components.pictures.grid import Mark
from components.tasks.multilabel.guard import MultilabelGuard, find_guessing_loss
from components.tasks.multilabel.metrics import Tally, find_losses, measure
from components.tasks.multilabel.thresholds import (
    DEFAULT,
    describe_thresholds,
    is_predicted,
    make_thresholds,
)
from components.tasks.multilabel.transform import LABELS, make_multi_hot
from components.trainer.augment.changes import Augment, make_augmenter
from components.trainer.augment.config import AugmentationConfig
from components.trainer.config import GuardConfig, TrainingConfig
from components.trainer.guard import Pace
from components.trainer.result import StageResult
from components.transform.levels import Levels
from schemas import features

if TYPE_CHECKING:
    import keras
    import tensorflow_transform as tft

    from components.trainer.export import ServingModule

logger = logging.getLogger("mirante.trainer")
# What is written where there is no class.
_NOTHING = "no label"
# Shares of a mixed image that are shown.
_LEAST_SHOWN = 0.005


def make_trainee(
    class_names: Sequence[str],
    model: ModelConfig,
    training: TrainingConfig,
    input_shape: tuple[int, int, int],
) -> Multilabel:
    """Return what is learned; see `components.trainer.trainee.TaskTrainer`."""
    return Multilabel(class_names, training)


class Multilabel:
    """Labels float32 [N, classes], 1 for each class of an image; outputs are logits [N, classes].

    Args:
        class_names: In the order of the labels.
        training: The recipe's part `training`.
    """

    metrics: Sequence[str] = ("subset_accuracy",)
    words: Mapping[str, str] = {"mean_average_precision": "mAP", "micro_f1": "micro F1"}
    record_spec: Mapping[str, Any] = {
        features.ENCODED: tf.io.FixedLenFeature([1], tf.string),
        features.LABEL: tf.io.VarLenFeature(tf.int64),
    }
    looks_at_whole_images = True

    def __init__(self, class_names: Sequence[str], training: TrainingConfig | None = None):
        self.class_names = class_names
        self._training = training or TrainingConfig()
        self._thresholds = np.full(len(class_names), DEFAULT, np.float32)

    def labels(self, transformed: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return float32 [N, classes]."""
        return make_multi_hot(transformed[LABELS], len(self.class_names))

    def labels_of_records(self, parsed: Mapping[str, Any], shapes: Mapping[str, tf.TensorShape]) -> tf.Tensor:
        """Return float32 [N, classes]."""
        return make_multi_hot(parsed[features.LABEL], len(self.class_names))

    def measure(self, labels: tf.Tensor, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `loss`, the mean binary cross-entropy, and `subset_accuracy` at 0.5, 1 or 0."""
        right = tf.reduce_all(tf.equal(outputs >= 0, labels >= 0.5), axis=-1)
        losses = tf.reduce_mean(self._cross_entropies(labels, outputs), axis=-1)
        return {"loss": losses, "subset_accuracy": tf.cast(right, tf.float32)}

    def weigh_losses(
        self, losses: tf.Tensor, labels: tf.Tensor, outputs: tf.Tensor, weights: Array
    ) -> tf.Tensor:
        """Return the losses, in which a class counts by its weight on images that have it."""
        factors = 1.0 + labels * (tf.constant(weights, tf.float32) - 1.0)
        return tf.reduce_mean(self._cross_entropies(labels, outputs) * factors, axis=-1)

    def _cross_entropies(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        smoothing = self._training.label_smoothing
        targets = labels * (1.0 - smoothing) + smoothing / 2
        return tf.nn.sigmoid_cross_entropy_with_logits(targets, tf.cast(outputs, tf.float32))

    def counts(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return nothing."""
        return {}

    def predict(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `probabilities` float32 [N, classes]."""
        return {"probabilities": tf.sigmoid(tf.cast(outputs, tf.float32))}

    def judge(self, labels: Array, predictions: Mapping[str, Array]) -> dict[str, float]:
        """Return the mean average precision, and the micro F1 at a threshold of 0.5."""
        probabilities = predictions["probabilities"]
        tally = Tally(len(self.class_names))
        tally.add(labels > 0.5, is_predicted(probabilities, self._thresholds), probabilities)
        overall, _ = measure(tally)
        return {name: overall[name] for name in ("mean_average_precision", "micro_f1")}

    def make_augmenter(self, config: AugmentationConfig, seed: int, levels: Levels | None) -> Augment | None:
        """Return what components/trainer/augment/changes.py makes."""
        return make_augmenter(config, seed, len(self.class_names), levels)

    def guard(
        self, config: GuardConfig, train_labels: Array, eval_labels: Array, pace: Pace | None = None
    ) -> MultilabelGuard:
        """Return the guard of components/tasks/multilabel/guard.py."""
        smoothing = self._training.label_smoothing
        return MultilabelGuard(
            config,
            find_guessing_loss(train_labels, smoothing),
            eval_labels,
            find_guessing_loss(eval_labels, smoothing),
            pace,
        )

    def show(self, label: Array) -> tuple[str, list[Mark]]:
        """Return the classes, one per line, with their shares in a mixed image."""
        there = np.flatnonzero(label >= _LEAST_SHOWN)
        lines = [
            self.class_names[index] if label[index] >= 1 else f"{label[index]:.0%} {self.class_names[index]}"
            for index in there
        ]
        return "\n".join(lines) or _NOTHING, []

    def mistakes(self, result: StageResult, labels: Array, count: int) -> list[tuple[int, str, list[Mark]]]:
        """Return the images with wrong classes at a threshold of 0.5, those with the largest losses first."""
        probabilities = result.predictions["probabilities"]
        truth, predicted = labels > 0.5, is_predicted(probabilities, self._thresholds)
        wrong = np.flatnonzero((truth != predicted).any(axis=1))
        losses = find_losses(truth, probabilities).mean(axis=1)
        # Equal losses in the order of the examples, so that two runs show the same.
        worst = wrong[np.argsort(-losses[wrong], kind="stable")][:count]
        return [
            (int(place), self._describe(truth[place], predicted[place], probabilities[place]), [])
            for place in worst
        ]

    def _describe(self, truth: Array, predicted: Array, probabilities: Array) -> str:
        said = [self.class_names[i] for i in np.flatnonzero(truth & predicted)]
        said += [
            f"{'missed' if truth[i] else 'false'} {self.class_names[i]} ({probabilities[i]:.2f})"
            for i in np.flatnonzero(truth != predicted)
        ]
        return "\n".join(said)

    def calibrate(self, labels: Array, evaluate: Callable[[], StageResult]) -> None:
        """Choose the thresholds on the eval split."""
        result = evaluate()
        truth, probabilities = labels[result.rows] > 0.5, result.predictions["probabilities"]
        self._thresholds = make_thresholds(self._training.label_threshold, truth, probabilities)
        untuned = [
            name
            for name, count in zip(self.class_names, truth.sum(axis=0).tolist(), strict=True)
            if count in (0, len(truth))
        ]
        logger.info(
            "thresholds of the classes: %s%s",
            describe_thresholds(self._thresholds),
            f" (0.5 for {', '.join(untuned[:5])}: no eval image has it, or all have it)"
            if untuned and self._training.label_threshold == "f1"
            else "",
        )

    def serving(self, model: keras.Model, tft_output: tft.TFTransformOutput) -> ServingModule:
        """Return the module that serves probabilities and predicted classes with their names."""
        from components.tasks.multilabel.serving import MultilabelModule

        return MultilabelModule(model, tft_output, list(self.class_names), self._thresholds)
