"""What a pushed classifier answers, under its signatures (components/trainer/export.py).

probabilities  float32 [N, classes]
labels         string  [N, classes]  the class names, in the order of the probabilities

The signature `classify` is for TF Serving's method Classify. Its `inputs` are serialized tf.train.Example
with the image file in `image/encoded`; `scores` and `classes` are the probabilities and labels.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from components.trainer.export import ServingModule
from components.transform.pixels import IMAGE
from schemas import features


class ClassificationModule(ServingModule):
    """Everything from encoded images to named probabilities."""

    task = features.CLASSIFICATION

    def predict(self, encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the probabilities of each canonical image, string [N]."""
        pixels = self.apply_transform(encoded)[IMAGE]
        probabilities = tf.nn.softmax(self.model(pixels, training=False))
        labels = tf.repeat(self.class_names[tf.newaxis, :], tf.shape(encoded)[0], axis=0)
        return {"probabilities": probabilities, "labels": labels}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer for serialized examples, string [N], whose images are as clients have them."""
        parsed = tf.io.parse_example(inputs, {features.ENCODED: tf.io.FixedLenFeature([], tf.string)})
        answer = self.predict(self.canonical(parsed[features.ENCODED]))
        return {"classes": answer["labels"], "scores": answer["probabilities"]}

    def list_signatures(self) -> dict[str, Any]:
        """Return the functions to serve by their names."""
        return {**super().list_signatures(), "classify": self.classify}
