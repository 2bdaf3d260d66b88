"""Rates, optimisers and losses, by hand."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.tasks.classification.trainer import class_of, cross_entropy
from components.trainer.config import TrainingConfig
from components.trainer.optimizer import learning_rate, make_optimizer


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


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_weight_decay_is_decoupled_and_spares_norms_and_biases(name: str, decay: float) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])
    for variable in model.trainable_variables:
        variable.assign(tf.ones_like(variable))
    optimizer = make_optimizer(TrainingConfig(optimizer=name, weight_decay=decay), 0.1)
    assert isinstance(
        optimizer,
        {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}.get(name, keras.optimizers.AdamW),
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
