"""Rates, optimisers and losses, by hand."""

from __future__ import annotations

import inspect
import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from components.tasks.classification.trainer import Classification, class_of, cross_entropy
from components.trainer.config import TrainingConfig
from components.trainer.input.examples import ArrayExamples
from components.trainer.optimizers.average import MovingAverage
from components.trainer.optimizers.config import OPTIONS, EmaConfig, OptimizerOptions
from components.trainer.optimizers.make import learning_rate, make_optimizer
from components.trainer.step import build_step
from components.trainer.strategy import Place


def test_cosine_with_warmup_by_hand() -> None:
    config = TrainingConfig(epochs=3, schedule="cosine", warmup_epochs=1)
    rate = learning_rate(config, 0.8, total_steps=12, warmup_steps=4)
    # Four steps up to the peak, then half a cosine wave over the other eight.
    by_hand = {0: 0.0, 1: 0.2, 2: 0.4, 4: 0.8, 6: 0.4 * (1 + math.cos(math.pi / 4)), 8: 0.4, 12: 0.0, 20: 0.0}
    for step, expected in by_hand.items():
        assert float(rate(step)) == pytest.approx(expected, abs=1e-6), step


def test_cosine_without_warmup_by_hand() -> None:
    rate = learning_rate(TrainingConfig(schedule="cosine"), 0.8, total_steps=10, warmup_steps=0)
    for step, expected in {0: 0.8, 5: 0.4, 10: 0.0}.items():
        assert float(rate(step)) == pytest.approx(expected, abs=1e-6), step


def test_a_constant_rate_warms_up_too() -> None:
    rate = learning_rate(TrainingConfig(warmup_epochs=1), 0.8, total_steps=12, warmup_steps=4)
    for step, expected in {0: 0.0, 1: 0.2, 3: 0.6, 4: 0.8, 7: 0.8, 12: 0.8, 20: 0.8}.items():
        assert float(rate(step)) == pytest.approx(expected, abs=1e-6), step


def test_a_constant_rate_is_the_rate() -> None:
    assert learning_rate(TrainingConfig(), 0.8, total_steps=8, warmup_steps=0) == 0.8


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "lion"])
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_weight_decay_is_decoupled_and_spares_norms_and_biases(name: str, decay: float) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])
    for variable in model.trainable_variables:
        variable.assign(tf.ones_like(variable))
    optimizer = make_optimizer(TrainingConfig(optimizer=name, weight_decay=decay), 0.1)
    assert isinstance(
        optimizer,
        {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD, "lion": keras.optimizers.Lion}.get(
            name, keras.optimizers.AdamW
        ),
    )
    # Without a gradient only the decay acts: 1 - rate * decay.
    optimizer.apply([tf.zeros_like(v) for v in model.trainable_variables], model.trainable_variables)
    values = {variable.name: variable.numpy() for variable in model.trainable_variables}
    assert set(values) == {"kernel", "bias", "gamma", "beta"}
    np.testing.assert_allclose(values.pop("kernel"), np.full((2, 2), 1 - 0.1 * decay), rtol=1e-6)
    for name_, value in values.items():
        np.testing.assert_array_equal(value, [1.0, 1.0], err_msg=name_)


def test_sgd_has_nesterov_momentum() -> None:
    optimizer = make_optimizer(TrainingConfig(optimizer="sgd"), 0.1)
    variable = keras.Variable([0.0])
    for _ in range(2):
        optimizer.apply([tf.constant([1.0])], [variable])
    # Velocity -0.1, then -0.19; each step adds 0.9 x velocity - 0.1 x gradient: -0.19, then -0.271.
    assert variable.numpy() == pytest.approx([-0.461])


KERAS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
    "adagrad": keras.optimizers.Adagrad,
    "adadelta": keras.optimizers.Adadelta,
    "lion": keras.optimizers.Lion,
    "nadam": keras.optimizers.Nadam,
}
# Other values than the defaults, so that an option that is not handed on shows.
OTHERS: dict[str, Any] = {
    "momentum": 0.5,
    "nesterov": False,
    "beta_1": 0.7,
    "beta_2": 0.8,
    "epsilon": 0.01,
    "amsgrad": True,
    "rho": 0.6,
    "centered": True,
    "initial_accumulator_value": 0.3,
}


def test_the_table_of_options_is_that_of_keras() -> None:
    assert set(OPTIONS) == set(KERAS)
    assert set(OptimizerOptions.model_fields) == set(OTHERS)
    for name, options in OPTIONS.items():
        theirs = inspect.signature(KERAS[name].__init__).parameters
        assert set(options) == set(OTHERS) & set(theirs), name
        if name != "sgd":
            assert options == {key: theirs[key].default for key in options}, name


@pytest.mark.parametrize("name", list(KERAS))
@pytest.mark.parametrize("given", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_step_is_that_of_keras_with_parts_and_clipped_gradients(name: str, given: bool) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(7, 3)).astype(np.float32), np.arange(7) % 2
    options = {key: OTHERS[key] for key in OPTIONS[name] if given}  # type: ignore[index]
    config = TrainingConfig(
        optimizer=name,
        optimizer_options=options,
        clip_norm=0.05,
        gradient_parts=3,
        weight_decay=0.01,
        global_batch_size=7,
        debug="eager",
    )
    ours, theirs = (
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, kernel_initializer=init)])
        for init in [keras.initializers.GlorotUniform(seed=1)] * 2
    )
    optimizer = make_optimizer(config, 0.1)
    optimizer.build(ours.trainable_variables)
    given_ = (ours, Classification("ab"), ArrayExamples("train", images, labels), config)
    place = Place(tf.distribute.get_strategy())
    step = build_step(*given_, place, optimizer, tf.Variable(0, dtype=tf.int64))
    kept = {"momentum": 0.9, "nesterov": True} if name == "sgd" else {}
    keras_own = KERAS[name](0.1, global_clipnorm=0.05, weight_decay=0.01, **{**kept, **options})
    keras_own.exclude_from_weight_decay(var_names=["bias"])
    for _ in range(4):
        result = step((tf.constant(images), tf.constant(labels)))
        with tf.GradientTape() as tape:
            losses = keras.losses.sparse_categorical_crossentropy(labels, theirs(images), from_logits=True)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, theirs.trainable_variables)
        keras_own.apply(gradients, theirs.trainable_variables)
        assert float(result["loss"]) == pytest.approx(float(loss), rel=1e-5)
        norm = float(tf.linalg.global_norm(gradients))
        assert float(result["gradient_norm"]) == pytest.approx(norm, rel=1e-4)
        assert norm > 0.05  # so that it is cut down
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("training", "said"),
    [
        (
            {"optimizer": "adam", "optimizer_options": {"momentum": 0.9}},
            "optimizer_options.momentum: it is for sgd, rmsprop, got 0.9 for optimizer: adam, whose options "
            "are beta_1, beta_2, epsilon, amsgrad; leave it out",
        ),
        (
            {"optimizer": "sgd", "optimizer_options": {"momentum": 0.0, "nesterov": True}},
            "optimizer_options.nesterov: expected a momentum above 0, got 0.0; leave one of them out",
        ),
        ({"gradient_parts": 33}, "gradient_parts: expected at most the images of a batch (32), got 33"),
    ],
)
def test_what_an_optimizer_does_not_have_is_refused(training: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingConfig.model_validate(training)
    assert said in str(caught.value)


def test_sgd_without_momentum_is_plain_descent() -> None:
    config = TrainingConfig(optimizer="sgd", optimizer_options={"momentum": 0.0, "nesterov": False})
    variable = keras.Variable([0.0])
    optimizer = make_optimizer(config, 0.1)
    for _ in range(2):
        optimizer.apply([tf.constant([1.0])], [variable])
    assert variable.numpy() == pytest.approx([-0.2])


def test_the_moving_average_by_hand() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization()])
    average = MovingAverage(model, EmaConfig(decay=0.5))
    steps = tf.Variable(0, dtype=tf.int64)
    # Each of gamma, beta, mean and variance goes to 10 and stays there.
    for variable in model.variables:
        variable.assign([10.0])
    for _ in range(2):
        average.update(steps)
        steps.assign_add(1)
    # The decay is 1 / 10 and 2 / 11 in the first two steps: from 1 to 9.1, from 0 to 9.
    by_hand = {start: 10 - (10 - start) / 10 * 2 / 11 for start in (0.0, 1.0)}
    expected = [by_hand[1.0], by_hand[0.0], by_hand[0.0], by_hand[1.0]]
    with average.in_place():
        found = {variable.name: float(variable.numpy()[0]) for variable in model.variables}
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    assert found == pytest.approx(dict(zip(names, expected, strict=True)))
    assert {float(variable.numpy()[0]) for variable in model.variables} == {10.0}
    # Later the decay is the recipe's.
    steps.assign(1000)
    average.update(steps)
    average.adopt()
    assert float(model.variables[0].numpy()[0]) == pytest.approx((by_hand[1.0] + 10) / 2)


def test_label_smoothing_is_that_of_keras() -> None:
    logits = tf.constant(np.random.default_rng(0).normal(size=(6, 4)), tf.float32)
    labels = tf.constant([0, 1, 2, 3, 3, 0], tf.int64)
    loss = cross_entropy(0.1)
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    assert float(tf.reduce_mean(loss(labels, logits))) == pytest.approx(
        float(theirs(tf.one_hot(labels, 4), logits)), rel=1e-6
    )
    # By hand: targets 0.9 and 0.1, log(e^2 + 1) = 2.126928.
    by_hand = 0.9 * (2.126928 - 2) + 0.1 * 2.126928
    smoothed = cross_entropy(0.2)
    for labels_ in (tf.constant([0]), tf.constant([[1.0, 0.0]])):  # a class, and the shares of a mixed image
        assert float(smoothed(labels_, tf.constant([[2.0, 0.0]]))[0]) == pytest.approx(by_hand)


def test_without_smoothing_the_loss_is_plain_cross_entropy() -> None:
    loss = cross_entropy(0.0)
    # By hand: the logarithm of 1 + e^-2.
    for labels in (tf.constant([0]), tf.constant([[1.0, 0.0]])):
        assert float(loss(labels, tf.constant([[2.0, 0.0]]))[0]) == pytest.approx(0.126928, rel=1e-5)


def test_logits_of_16_bits_give_a_loss_of_32() -> None:
    loss = cross_entropy(0.0)(tf.constant([0]), tf.constant([[2.0, 0.0]], tf.bfloat16))
    assert loss.dtype == tf.float32


def test_the_class_of_a_mixed_label_is_its_larger_part() -> None:
    assert class_of(tf.constant([2, 0], tf.int32)).numpy().tolist() == [2, 0]
    assert class_of(tf.constant([[0.3, 0.7], [0.9, 0.1]])).numpy().tolist() == [1, 0]


def test_losses_are_scaled_in_float16_alone() -> None:
    assert isinstance(
        make_optimizer(TrainingConfig(precision="mixed_float16"), 0.1), keras.optimizers.LossScaleOptimizer
    )
    for precision in ("float32", "mixed_bfloat16"):
        optimizer = make_optimizer(TrainingConfig(precision=precision), 0.1)
        assert not isinstance(optimizer, keras.optimizers.LossScaleOptimizer)


def test_an_overflow_in_float16_is_skipped_and_lowers_the_scale() -> None:
    optimizer = make_optimizer(TrainingConfig(precision="mixed_float16", optimizer="sgd"), 0.1)
    variable = keras.Variable([1.0])
    optimizer.build([variable])
    scale = float(optimizer.scale_loss(tf.constant(1.0)))
    assert scale > 1
    optimizer.apply([tf.constant([math.inf])], [variable])
    assert variable.numpy().tolist() == [1.0]
    assert float(optimizer.scale_loss(tf.constant(1.0))) == scale / 2
