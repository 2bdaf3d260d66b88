"""Batch normalisation by TensorFlow's fused kernel.

Keras 3 composes the layer of some ten operations. In training, that costs more time, and the sum of its three
gradients by the input has no fixed order (AddN begins with whichever it may write into), so that two equal
trainings drift apart in the last digits. Both are measured in docs/decisions/007-fast-on-cpus.md.

Source: Ioffe and Szegedy, Batch normalization, 2015.
"""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("mirante")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer: same arguments, weights and results; `[N, H, W, C]` is trained on by one kernel."""

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """See Keras."""
        is_usual = self.scale and self.center and not (self.renorm or self.synchronized) and mask is None
        if not (training and self.trainable and is_usual and len(inputs.shape) == 4 and self.axis in (3, -1)):
            return super().call(inputs, training=training, mask=mask)
        # In 16 bits, sums over a batch would overflow or lose their digits: so does Keras.
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            tf.cast(inputs, tf.float32),
            self.gamma.value,
            self.beta.value,
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel gives the estimate for the population, n / (n - 1) of the batch's, which Keras follows.
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
        variance *= tf.maximum(count - 1.0, 1.0) / count
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving.value * self.momentum + value * (1.0 - self.momentum))
        return tf.cast(outputs, self.compute_dtype)


def fuse_batch_norms(model: keras.Model) -> keras.Model:
    """Return a model like `model`, weights included, with this layer in place of Keras'."""

    def substitute(layer: keras.layers.Layer) -> keras.layers.Layer:
        kind = BatchNormalization if type(layer) is keras.layers.BatchNormalization else type(layer)
        return kind.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=substitute)
    copy.set_weights(model.get_weights())
    return copy
