"""The numbers that a training tells, computed once more by Keras' own functions and by NumPy."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.tasks.classification.trainer import Classification
from components.trainer.config import TrainingConfig
from components.trainer.input.batches import chunks
from components.trainer.input.examples import ArrayExamples
from components.trainer.input.order import shuffled_order
from components.trainer.loop import CURVE_STEPS
from components.trainer.optimizers.make import make_optimizer
from components.trainer.step import build_evaluate, build_step
from components.trainer.strategy import Place
from tests.make.trainings import CLASSES, load_images, make_network, make_striped, train

PLACE = Place(tf.distribute.get_strategy())


def batches(examples: ArrayExamples, size: int, count: int, seed: int = 0) -> list[tuple[Any, Any]]:
    """The first batches of a training."""
    images = load_images(examples).numpy()
    order = shuffled_order(examples.num_examples, seed)
    dealt = chunks(order, examples.num_examples, size, 0, PLACE)
    rows = [rows for _, rows in itertools.islice(dealt, count)]
    return [(images[chosen], np.asarray(examples.labels)[chosen]) for chosen in rows]


def retrained(examples: ArrayExamples, size: int, steps: int, rate: float) -> dict[str, list[float]]:
    """Losses, accuracies and gradient norms of each step, by Keras alone: plain SGD, no momentum."""
    model = make_network(batch_norm=False)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found: dict[str, list[float]] = {"loss": [], "accuracy": [], "gradient_norm": []}
    for images, labels in batches(examples, size, steps):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = loss_of(labels, logits)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        found["loss"].append(float(loss))
        found["accuracy"].append(float(np.mean(np.argmax(logits, axis=1) == labels)))
        squares = [float(np.square(gradient.numpy(), dtype=np.float64).sum()) for gradient in gradients]
        found["gradient_norm"].append(float(np.sqrt(sum(squares))))
    return found


# 40 examples by 8 are 5 even steps; by 12, 4 steps, the last of them of two epochs; by 64, one, of all.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "steps_of_first"),
    [(8, 5), pytest.param(12, 4, marks=pytest.mark.both_stacks), (64, 1)],
)
def test_loss_and_accuracy_of_an_epoch_are_keras(tmp_path: Path, size: int, steps_of_first: int) -> None:
    examples = make_striped(40, 3)
    course = train(
        make_network(batch_norm=False),
        TrainingConfig(optimizer="sgd", epochs=1, learning_rate=0.05, global_batch_size=size),
        tmp_path,
        train=examples,
    )
    expected = retrained(examples, min(size, 40), steps_of_first, 0.05)
    for key in ("loss", "accuracy"):
        assert course.epochs(key) == [pytest.approx(np.mean(expected[key]), rel=1e-5)]
    assert course.epochs("learning_rate") == [pytest.approx(0.05)]
    # Both are of the same steps and seconds.
    (rate,), (steps,) = course.epochs("images_per_sec"), course.epochs("steps_per_sec")
    assert rate == pytest.approx(steps * min(size, 40))


@pytest.mark.slow
def test_points_of_the_curve_are_of_single_steps(tmp_path: Path) -> None:
    examples = make_striped(40, 3)
    course = train(
        make_network(batch_norm=False),
        TrainingConfig(optimizer="sgd", epochs=11, learning_rate=0.05, global_batch_size=8),
        tmp_path,
        train=examples,
    )
    ((step, values),) = [(n, v) for _, n, v in course.points if "step/loss" in v]
    expected = retrained(examples, 8, 55, 0.05)
    assert step == CURVE_STEPS
    for key in ("loss", "accuracy", "gradient_norm"):
        assert values[f"step/{key}"] == pytest.approx(expected[key][step - 1], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 8, 21])
def test_an_evaluation_is_that_of_keras(count: int) -> None:
    # One image; as many as a batch; a last batch of five.
    examples = make_striped(count, 5, "eval")
    model = make_network()
    config = TrainingConfig(global_batch_size=8)
    evaluation = build_evaluate(model, Classification(CLASSES), examples, config, PLACE)()
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    loss, accuracy = model.evaluate(load_images(examples).numpy(), examples.labels, batch_size=8, verbose=0)
    assert evaluation.loss == pytest.approx(loss, rel=1e-5)
    assert evaluation.metrics["accuracy"] == pytest.approx(accuracy)
    assert evaluation.totals["predicted"].sum() == count
    assert len(evaluation.rows) == count


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_the_norm_of_a_gradient_has_no_scale(precision: str) -> None:
    model = make_network(batch_norm=False)
    if precision != "float32":
        keras.config.set_dtype_policy(precision)
        try:
            model = make_network(batch_norm=False)
        finally:
            keras.config.set_dtype_policy("float32")
    examples = make_striped(16, 3)
    config = TrainingConfig(precision=precision, optimizer="sgd", learning_rate=1e-3)
    optimizer = make_optimizer(config, 1e-3)
    optimizer.build(model.trainable_variables)
    counter = tf.Variable(0, dtype=tf.int64)
    step = build_step(model, Classification(CLASSES), examples, config, PLACE, optimizer, counter)
    (batch,) = batches(examples, 16, 1)
    (expected,) = retrained(examples, 16, 1, 1e-3)["gradient_norm"]
    tolerance = 1e-5 if precision == "float32" else 0.03
    assert float(step(tuple(map(tf.constant, batch)))["gradient_norm"]) == pytest.approx(
        expected, rel=tolerance
    )


def test_what_a_layer_adds_is_in_the_loss_and_not_in_the_task_s() -> None:
    inputs = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(inputs)
    logits = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.5), name="logits")(flat)
    model = keras.Model(inputs, logits)
    penalty = 0.5 * float(np.square(model.get_layer("logits").kernel.numpy()).sum())
    config = TrainingConfig(optimizer="sgd")
    optimizer = make_optimizer(config, 1e-3)
    optimizer.build(model.trainable_variables)
    counter, examples = tf.Variable(0, dtype=tf.int64), make_striped(16, 3)
    step = build_step(model, Classification(CLASSES), examples, config, PLACE, optimizer, counter)
    (batch,) = batches(examples, 16, 1)
    result = step(tuple(map(tf.constant, batch)))
    assert penalty > 0.1
    assert float(result["loss"]) - float(result["task_loss"]) == pytest.approx(penalty, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("schedule", "last"), [("constant", 0.1), ("cosine", 0.0)])
def test_the_rate_that_is_told_warms_up(tmp_path: Path, schedule: str, last: float) -> None:
    config = TrainingConfig(
        optimizer="sgd", epochs=4, learning_rate=0.1, warmup_epochs=2, schedule=schedule, global_batch_size=16
    )
    rates = train(make_network(), config, tmp_path).epochs("learning_rate")
    # 64 examples by 16: two epochs of warm-up are 8 steps; told is the rate of the step that comes next.
    assert rates[:2] == pytest.approx([0.05, 0.1])
    assert rates[-1] == pytest.approx(last, abs=1e-6)
