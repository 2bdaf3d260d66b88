"""What a pushed classifier answers, under its signatures (components/trainer/export.py).

probabilities  float32 [N, classes]
labels         string  [N, classes]  the class names, in the order of the probabilities

The signature `classify` is for TF Serving's method Classify. Its `inputs` are serialized tf.train.Example
with the image file in `image/encoded`; `scores` and `classes` are the probabilities and labels.
"""

import tensorflow as tf

from components.trainer.class_module import ClassModule
from components.transform.pixels import IMAGE
from schemas import features


class ClassificationModule(ClassModule):
    """Everything from encoded images to named probabilities."""

    task = features.CLASSIFICATION

    def predict(self, encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the probabilities of each canonical image, string [N]."""
        pixels = self.apply_transform(encoded)[IMAGE]
        probabilities = tf.nn.softmax(self.model(pixels, training=False))
        labels = tf.repeat(self.class_names[tf.newaxis, :], tf.shape(encoded)[0], axis=0)
        return {"probabilities": probabilities, "labels": labels}
