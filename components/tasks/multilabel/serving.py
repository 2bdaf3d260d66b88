"""What a pushed model for multilabel classification answers (components/trainer/export.py).

probabilities  float32 [N, classes]  of each class by itself: they need not sum to 1
labels         string  [N, classes]  the class names, in the order of the probabilities
predicted      bool    [N, classes]  whether the image gets the label: its probability reaches the threshold

The signature `classify` is for TF Serving's method Classify. Its `inputs` are serialized tf.train.Example
with the image file in `image/encoded`; `scores` and `classes` are the probabilities and labels.

assets.extra/thresholds.csv has the thresholds of the classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components.base.arrays import Array
from components.base.saved_model import ASSETS
from components.base.table import format_table
from components.tasks.multilabel.thresholds import format_thresholds
from components.trainer.class_module import ClassModule
from components.transform.pixels import IMAGE
from schemas import features

THRESHOLDS_FILE = f"{ASSETS}/thresholds.csv"
COLUMNS = ("class", "threshold")


class MultilabelModule(ClassModule):
    """Everything from encoded images to named probabilities and predicted classes.

    Args:
        model: The network.
        tft_output: The Transform graph.
        class_names: In the order of the labels.
        thresholds: The least probability of each class that is predicted, float32 [classes].
    """

    task = features.MULTILABEL

    def __init__(
        self,
        model: keras.Model,
        tft_output: tft.TFTransformOutput,
        class_names: list[str],
        thresholds: Array,
    ):
        super().__init__(model, tft_output, class_names)
        self._values = thresholds
        self.thresholds = tf.constant(thresholds, tf.float32)

    def predict(self, encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the probabilities and predicted classes of each canonical image, string [N]."""
        pixels = self.apply_transform(encoded)[IMAGE]
        probabilities = tf.sigmoid(self.model(pixels, training=False))
        return {
            "probabilities": probabilities,
            "labels": tf.repeat(self.class_names[tf.newaxis, :], tf.shape(encoded)[0], axis=0),
            "predicted": probabilities >= self.thresholds,
        }

    def list_files(self) -> Mapping[str, str]:
        """Return the contents of more files of the model, by their paths in its folder."""
        return {THRESHOLDS_FILE: format_table(COLUMNS, format_thresholds(self.names, self._values))}
