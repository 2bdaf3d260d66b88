"""The fused batch norm is Keras' layer, only quicker, and gives the same numbers each time."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.models import build_model
from components.models.batch_norm import BatchNormalization, fuse_batch_norms
from components.models.config import ModelConfig


def images(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(1, 2, shape), tf.float32)


def trained_on(layer: keras.layers.Layer, x: tf.Tensor) -> list[np.ndarray]:
    """Output, gradients by x, gamma and beta, and the moving statistics after one batch."""
    layer.build(x.shape)
    layer.gamma.assign(np.linspace(0.5, 2, x.shape[-1]))
    layer.beta.assign(np.linspace(-1, 1, x.shape[-1]))
    weights = images(*x.shape, seed=1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        loss = tf.reduce_sum(tf.cast(y, tf.float32) * weights)
    gradients = tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])
    return [np.asarray(v) for v in (y, *gradients, layer.moving_mean.value, layer.moving_variance.value)]


@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (2, 1, 1, 3), (1, 1, 1, 3), (8, 3)])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_it_does_what_keras_does(shape: tuple[int, ...], policy: str) -> None:
    options = {"momentum": 0.9, "epsilon": 0.01, "dtype": keras.DTypePolicy(policy)}
    ours = trained_on(BatchNormalization(**options), images(*shape))
    theirs = trained_on(keras.layers.BatchNormalization(**options), images(*shape))
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a.astype(np.float32), b.astype(np.float32), rtol=2e-4, atol=2e-4)


def test_it_uses_the_moving_statistics_outside_of_training() -> None:
    x = images(4, 5, 6, 3)
    for frozen, training in ((False, False), (True, True)):
        outputs = []
        for kind in (BatchNormalization, keras.layers.BatchNormalization):
            layer = kind()
            layer(x, training=True)
            layer.trainable = not frozen
            outputs.append(layer(x, training=training).numpy())
        np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_network_of_keras_takes_it_over_with_its_weights() -> None:
    network = keras.applications.MobileNetV2(
        (32, 32, 3), 0.35, include_top=False, weights=None, pooling="avg"
    )
    for weight in network.weights:
        weight.assign(tf.random.stateless_uniform(weight.shape, (1, 2), 0.5, 1.5))
    copy = fuse_batch_norms(network)
    kinds = [type(layer) for layer in copy.layers]
    assert BatchNormalization in kinds
    assert keras.layers.BatchNormalization not in kinds
    assert [w.path for w in copy.weights] == [w.path for w in network.weights]
    x = images(2, 32, 32, 3)
    np.testing.assert_array_equal(copy(x, training=False), network(x, training=False))


@pytest.mark.slow
def test_gradients_are_the_same_each_time() -> None:
    model = build_model(ModelConfig(name="cifar_resnet"), (64, 64, 3), 5)
    x, labels = images(16, 64, 64, 3), tf.range(16) % 5

    @tf.function
    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        return tape.gradient(loss, model.trainable_variables)

    first = [g.numpy() for g in gradients()]
    for _ in range(8):
        for a, b in zip(first, gradients(), strict=True):
            np.testing.assert_array_equal(a, b)
