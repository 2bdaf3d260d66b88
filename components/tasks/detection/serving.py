"""What a pushed detector answers, under both of its signatures (components/trainer/export.py).

    boxes         float32 [N, 100, 4]  (xmin, ymin, xmax, ymax) as shares of the upright image
    scores        float32 [N, 100]     descending
    class_labels  int64   [N, 100]     1 and up, 0 where there is no more box
    class_names   string  [N, 100]     "" where there is no more box
    counts        int64   [N]          boxes

100 is the recipe's `model.detection.max_detections`.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components.tasks.detection.transform import FRAME
from components.trainer.export import ServingModule
from components.transform.pixels import IMAGE
from schemas import features


class DetectionModule(ServingModule):
    """Everything from encoded images to named boxes.

    Args:
        model: The network.
        tft_output: The Transform graph.
        class_names: The names of the labels 1 and up.
        find_boxes: Turns the network's outputs and the images' frames into boxes; see `Detection.predict`.
    """

    task = features.DETECTION

    def __init__(
        self,
        model: keras.Model,
        tft_output: tft.TFTransformOutput,
        class_names: list[str],
        find_boxes: Callable[[tf.Tensor, tf.Tensor | None], dict[str, tf.Tensor]],
    ):
        super().__init__(model, tft_output, class_names)
        self._find_boxes = find_boxes
        self._with_background = tf.constant(["", *class_names])

    def predict(self, encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the best boxes of each canonical image, string [N]."""
        transformed = self.apply_transform(encoded)
        outputs = self.model(transformed[IMAGE], training=False)
        found = self._find_boxes(outputs, transformed.get(FRAME))
        return {
            "boxes": found["boxes"],
            "scores": found["scores"],
            "class_labels": found["labels"],
            "class_names": tf.gather(self._with_background, found["labels"]),
            "counts": tf.reduce_sum(tf.cast(found["labels"] > 0, tf.int64), axis=1),
        }
