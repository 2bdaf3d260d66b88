"""One training step and one evaluation, on all replicas of a strategy.

Keras' own `fit` does not run under MultiWorkerMirroredStrategy (it builds the network on a value that is one
of several replicas'), cannot resume in the middle of an epoch, and does not check that anything is learned.
The step here is what `fit` does on one device (docs/decisions/006-own-training-loop.md).
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.base.arrays import Array
from components.models import refresh_constants
from components.trainer.class_balance import class_weights
from components.trainer.config import TrainingConfig
from components.trainer.input.batches import batch_size_for, evaluation_batches, evaluation_rows
from components.trainer.input.examples import Examples
from components.trainer.optimizers.average import MovingAverage
from components.trainer.result import StageResult
from components.trainer.strategy import Place
from components.trainer.trainee import Trainee


def count_steps(num_examples: int, epochs: float, batch_size: int) -> int:
    """Return the steps until this many epochs are full; epochs follow each other within a batch."""
    return math.ceil(num_examples * epochs / batch_size)


def build_step(
    model: keras.Model,
    trainee: Trainee,
    examples: Examples,
    config: TrainingConfig,
    place: Place,
    optimizer: keras.optimizers.Optimizer,
    counter: tf.Variable,
    average: MovingAverage | None = None,
) -> Callable[[Any], dict[str, tf.Tensor]]:
    """Return a function that does one step on the batches of the replicas of `examples`, and counts it.

    It returns `loss`, the mean over the global batch, `task_loss`, the same without what layers add to it
    (regularisers), the task's metrics, summed over its examples, and `gradient_norm`, that of the gradient of
    `loss`: whatever the number of replicas, and without the factor that keeps small gradients in 16 bits.
    """
    strategy = place.strategy
    variables = model.trainable_variables
    batch_size = batch_size_for(config, place, examples.num_examples)
    weights = class_weights(config, trainee.class_names, examples.labels)

    def differentiate(
        images: tf.Tensor, labels: tf.Tensor, count: int
    ) -> tuple[dict[str, tf.Tensor], list[tf.Tensor | None]]:
        """Return the sums and the scaled gradients of one of `count` parts of a replica's batch."""
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
            measured = trainee.measure(labels, outputs)
            losses = measured["loss"]
            if weights is not None:
                losses = trainee.weigh_losses(losses, labels, outputs, weights)
            # The share of this part in the mean over the global batch: the replicas' gradients are summed.
            task_loss = loss = tf.reduce_sum(losses) / batch_size
            if model.losses:
                loss += tf.add_n(model.losses) / (place.num_replicas * count)
            scaled = optimizer.scale_loss(loss)
        sums = {name: tf.reduce_sum(measured[name]) for name in trainee.metrics}
        return {"loss": loss, "task_loss": task_loss, **sums}, tape.gradient(scaled, variables)

    def replica_step(images: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        parts = _split(images, labels, config.gradient_parts)
        sums, gradients = differentiate(*parts[0], len(parts))
        for part_images, part_labels in parts[1:]:
            # One after the other: side by side, all parts would be in memory.
            with tf.control_dependencies([gradient for gradient in gradients if gradient is not None]):
                part = tf.identity(part_images), tf.identity(part_labels)
            more, added = differentiate(*part, len(parts))
            sums = {name: value + more[name] for name, value in sums.items()}
            gradients = [
                one if other is None else one + other for one, other in zip(gradients, added, strict=True)
            ]
        scale = optimizer.scale_loss(tf.constant(1.0))
        # Before the optimiser changes its scale.
        norm = gradient_norm(gradients) / scale
        if config.clip_norm is not None:
            factor = config.clip_norm / tf.maximum(norm, config.clip_norm)
            gradients = [None if gradient is None else gradient * factor for gradient in gradients]
        optimizer.apply(gradients, variables)
        if average is not None:
            average.update(counter)
        return {**sums, "gradient_norm": norm / place.num_replicas}

    def gradient_norm(gradients: list[tf.Tensor | None]) -> tf.Tensor:
        known = [tf.convert_to_tensor(gradient) for gradient in gradients if gradient is not None]
        if place.num_replicas > 1:
            known = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, known)
        return tf.linalg.global_norm(known)

    if compiles_with_xla(config) and place.num_replicas == 1:
        replica_step = tf.function(replica_step, jit_compile=True, autograph=False)

    def step(batch: Any) -> dict[str, tf.Tensor]:
        results = strategy.run(replica_step, args=batch)
        counter.assign_add(1)
        return {
            name: strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
            for name, value in results.items()
        }

    # As Keras does: AutoGraph would rewrite the code of Keras first, and take seconds.
    return step if config.debug == "eager" else tf.function(step, autograph=False)


def _split(images: tf.Tensor, labels: tf.Tensor, parts: int) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Return a batch in parts of almost equal sizes, at most as many as it has examples."""
    if parts == 1:
        return [(images, labels)]
    sizes = [len(rows) for rows in np.array_split(np.arange(images.shape[0]), parts) if len(rows)]
    return list(zip(tf.split(images, sizes), tf.split(labels, sizes), strict=True))


def build_average(model: keras.Model, place: Place) -> Callable[[], None]:
    """Return a function that gives all replicas the mean of their batch norm statistics.

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

    return tf.function(lambda: place.strategy.run(replica_average), autograph=False)


def count_settle_steps(model: keras.Model) -> int:
    """Return how many steps it takes until batch norms' statistics are those of the weights, all but 1 %."""
    momenta = [
        layer.momentum
        for layer in model._flatten_layers()  # networks within networks too
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable and layer.momentum < 1
    ]
    return math.ceil(math.log(0.01) / math.log(max(momenta))) if momenta and max(momenta) > 0 else 0


class Change:
    """The distance of weights from where they started, by some values of each variable.

    Args:
        variables: The trained variables.
    """

    _OF_EACH = 1000

    def __init__(self, variables: list[keras.Variable]):
        self._variables = variables
        self._began = self._some()

    def share(self) -> float:
        """Return the distance, as a share of the norm that the weights had."""
        length = float(np.linalg.norm(self._began))
        return float(np.linalg.norm(self._some() - self._began)) / length if length else math.inf

    def _some(self) -> Array:
        parts = [tf.reshape(v.value, [-1])[: self._OF_EACH].numpy() for v in self._variables]
        return np.concatenate([np.zeros(0), *parts]).astype(np.float64)


def compiles_with_xla(config: TrainingConfig) -> bool:
    """Return whether XLA compiles the step of one replica: `training.jit_compile`, or by default on GPUs.

    XLA halves the speed of small convolutions there (LeNet on two cores: 860 images/s with it, 1,840
    without).
    """
    if config.jit_compile is not None:
        return config.jit_compile
    return config.debug is None and bool(tf.config.list_physical_devices("GPU"))


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Give a network the weights of another one of the same layers, on all replicas."""
    for variable, other in zip(target.variables, source.variables, strict=True):
        variable.assign(tf.identity(other.value))
    refresh_constants(target)


def build_evaluate(
    model: keras.Model, trainee: Trainee, examples: Examples, config: TrainingConfig, place: Place
) -> Callable[[], StageResult]:
    """Return a function that evaluates `model` on `examples`, on all replicas."""
    strategy = place.strategy
    batch_size = batch_size_for(config, place, examples.num_examples)
    batches = strategy.distribute_datasets_from_function(
        lambda _: evaluation_batches(examples, batch_size, place)
    )

    rows, weights_of_rows = evaluation_rows(examples.num_examples, batch_size, place)
    is_counted = weights_of_rows.reshape(-1) > 0

    def replica_step(
        images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        outputs = model(images, training=False)
        measured = trainee.measure(labels, outputs)
        counted = {**measured, "loss_squares": tf.square(measured["loss"]), **trainee.counts(outputs)}
        sums = {
            name: tf.reduce_sum(values * tf.reshape(weights, [-1] + [1] * (values.shape.rank - 1)), axis=0)
            for name, values in counted.items()
        }
        return sums, trainee.predict(outputs)

    def step(batch: Any) -> tuple[dict[str, tf.Tensor], dict[str, Any]]:
        sums, predictions = strategy.run(replica_step, args=batch)
        reduced = {
            name: strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
            for name, value in sums.items()
        }
        return reduced, predictions

    run = step if config.debug == "eager" else tf.function(step, autograph=False)

    def evaluate() -> StageResult:
        totals: dict[str, Any] = {}
        predictions: dict[str, list[Array]] = {}
        for batch in batches:
            sums, of_images = run(batch)
            for name, value in sums.items():
                totals[name] = totals.get(name, 0.0) + value.numpy().astype(np.float64)
            for name, values in of_images.items():
                predictions.setdefault(name, []).extend(
                    part.numpy() for part in strategy.experimental_local_results(values)
                )
        count = examples.num_examples
        means = {name: float(totals.pop(name)) / count for name in ("loss", "loss_squares", *trainee.metrics)}
        loss = means.pop("loss")
        variance = max(0.0, means.pop("loss_squares") - loss**2)
        predicted = {name: np.concatenate(parts)[is_counted] for name, parts in predictions.items()}
        seen = rows.reshape(-1)[is_counted]
        # A process of a cluster knows only its own share.
        judged = trainee.judge(examples.labels[seen], predicted) if place.num_workers == 1 else {}
        return StageResult(
            loss, {**means, **judged}, totals, seen, predicted, math.sqrt(variance / max(1, count - 1))
        )

    return evaluate
