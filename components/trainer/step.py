"""What is done to one batch: a training step, and an evaluation, on all replicas of a strategy.

Keras' own `fit` does not run under MultiWorkerMirroredStrategy (it builds the network on a value that is one
of several replicas'), cannot go on in the middle of an epoch, and does not look whether anything is learned.
The step here is what `fit` does on one device (docs/decisions/006-own-training-loop.md).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.config import TrainingConfig
from components.trainer.input import Examples, evaluation_batches, evaluation_rows
from components.trainer.optimizer import class_of, make_loss
from components.trainer.strategy import Place


def steps_of(num_examples: int, epochs: float, batch_size: int) -> int:
    """Steps until so many epochs are full; epochs follow each other within a batch."""
    return math.ceil(num_examples * epochs / batch_size)


def batch_size_for(config: TrainingConfig, place: Place, num_examples: int) -> int:
    """The global batch size, at most the examples that there are."""
    largest = max(1, num_examples // place.num_replicas) * place.num_replicas
    return min(config.batch_size(place.num_replicas), largest)


def build_step(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    counter: tf.Variable,
    config: TrainingConfig,
    place: Place,
    batch_size: int,
) -> Callable[[Any], dict[str, tf.Tensor]]:
    """A function that does one step on the batches of the replicas, and counts it.

    It returns `loss`, the mean over the global batch, `right`, how many were classified right, and
    `gradient_norm`, summed over the replicas.
    """
    loss_of, strategy = make_loss(config), place.strategy
    variables = model.trainable_variables

    def replica_step(images: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            # The share of this replica in the mean over the global batch: the replicas' gradients are summed.
            loss = tf.reduce_sum(loss_of(labels, logits)) / batch_size
            if model.losses:
                loss += tf.add_n(model.losses) / place.num_replicas
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, variables)
        optimizer.apply(gradients, variables)
        right = tf.equal(tf.argmax(logits, axis=-1), class_of(labels))
        return {
            "loss": loss,
            "right": tf.reduce_sum(tf.cast(right, tf.float32)),
            "gradient_norm": tf.linalg.global_norm([g for g in gradients if g is not None]),
        }

    if compiles_with_xla(config) and place.num_replicas == 1:
        replica_step = tf.function(replica_step, jit_compile=True)

    def step(batch: Any) -> dict[str, tf.Tensor]:
        results = strategy.run(replica_step, args=batch)
        counter.assign_add(1)
        return {
            name: strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
            for name, value in results.items()
        }

    return step if config.debug == "eager" else tf.function(step)


def build_average(model: keras.Model, place: Place) -> Callable[[], None]:
    """A function that gives all replicas the mean of their batch norm statistics.

    Each replica follows its own part of the batches; the mean is what all of the batches come to.
    """
    statistics = [v.value for v in model.non_trainable_variables if v.dtype.startswith("float")]
    if place.num_replicas == 1 or not statistics:
        return lambda: None

    def replica_average() -> None:
        context = tf.distribute.get_replica_context()
        means = context.all_reduce(tf.distribute.ReduceOp.MEAN, [tf.identity(v) for v in statistics])
        for variable, mean in zip(statistics, means, strict=True):
            variable.assign(mean)

    return tf.function(lambda: place.strategy.run(replica_average))


def compiles_with_xla(config: TrainingConfig) -> bool:
    """Whether the step of one replica is compiled: as `training.jit_compile` says, else not on CPUs.

    XLA halves the speed of small convolutions there (LeNet on two cores: 860 images/s with it, 1,840
    without).
    """
    if config.jit_compile is not None:
        return config.jit_compile
    return config.debug is None and bool(tf.config.list_physical_devices("GPU"))


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation gives.

    Attributes:
        loss: Mean cross-entropy, smoothed as in training.
        accuracy: Share of the examples that are classified right.
        predicted: How often each class was predicted, int [classes].
        rows: The examples that this process evaluated, int64 [N]; all of them, unless it is one of several.
        classes: What each of them was predicted to be, int64 [N].
        scores: The probability that each prediction was given, float32 [N].
    """

    loss: float
    accuracy: float
    predicted: np.ndarray[Any, Any]
    rows: np.ndarray[Any, Any]
    classes: np.ndarray[Any, Any]
    scores: np.ndarray[Any, Any]


def build_evaluate(
    model: keras.Model, examples: Examples, config: TrainingConfig, place: Place
) -> Callable[[], Evaluation]:
    """A function that evaluates `model` on `examples`, on all replicas."""
    loss_of, strategy = make_loss(config), place.strategy
    batch_size = batch_size_for(config, place, examples.num_examples)
    num_classes = model.output_shape[-1]
    batches = strategy.distribute_datasets_from_function(
        lambda _: evaluation_batches(examples, batch_size, place)
    )

    rows, weights_of_rows = evaluation_rows(examples.num_examples, batch_size, place)
    is_counted = weights_of_rows.reshape(-1) > 0

    def replica_step(
        images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        logits = model(images, training=False)
        loss = tf.reduce_sum(loss_of(labels, logits) * weights)
        predicted = tf.argmax(logits, axis=-1)
        right = tf.reduce_sum(tf.cast(tf.equal(predicted, labels), tf.float32) * weights)
        counts = tf.reduce_sum(tf.one_hot(predicted, num_classes) * weights[:, tf.newaxis], axis=0)
        scores = tf.reduce_max(tf.nn.softmax(tf.cast(logits, tf.float32)), axis=-1)
        return tf.concat([[loss, right], counts], axis=0), predicted, scores

    def step(batch: Any) -> tuple[tf.Tensor, Any, Any]:
        sums, predicted, scores = strategy.run(replica_step, args=batch)
        return strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None), predicted, scores

    run = step if config.debug == "eager" else tf.function(step)

    def evaluate() -> Evaluation:
        sums = np.zeros(2 + num_classes)
        classes: list[np.ndarray[Any, Any]] = []
        scores: list[np.ndarray[Any, Any]] = []
        for batch in batches:
            of_batch, *of_images = run(batch)
            sums += of_batch.numpy()
            for parts, values in zip((classes, scores), of_images, strict=True):
                parts += [part.numpy() for part in strategy.experimental_local_results(values)]
        count = examples.num_examples
        return Evaluation(
            sums[0] / count,
            sums[1] / count,
            sums[2:].astype(int),
            rows.reshape(-1)[is_counted],
            np.concatenate(classes)[is_counted],
            np.concatenate(scores)[is_counted],
        )

    return evaluate
