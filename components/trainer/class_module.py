"""What models of whole images share: the signature for TF Serving's method Classify, and heat maps."""

import logging
from typing import Any

import tensorflow as tf

from components.trainer.export import ServingModule
from components.trainer.heat import make_heat_maps
from components.transform.pixels import IMAGE, find_frames
from schemas import features

logger = logging.getLogger("mirante.trainer")
_WHOLE = (0.0, 0.0, 1.0, 1.0)


class ClassModule(ServingModule):
    """A module whose answers are `probabilities` and `labels` of all classes, among others."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")], autograph=False)
    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer for serialized examples, string [N], whose images are as clients have them."""
        parsed = tf.io.parse_example(inputs, {features.ENCODED: tf.io.FixedLenFeature([], tf.string)})
        answer = self.predict(self.canonical(parsed[features.ENCODED]))
        return {"classes": answer["labels"], "scores": answer["probabilities"]}

    def list_signatures(self) -> dict[str, Any]:
        """Return the functions to serve by their names."""
        return {**super().list_signatures(), "classify": self.classify}

    def make_explainer(self) -> Any:
        """Return the function `explain`: heat maps of images for given classes.

            image_bytes   string [N]          encoded images
            labels        int64 [N]           the class that each map is about
            heat          float32 [N, h, w]   see components/trainer/heat.py
            frame         float32 [N, 4]      where the image is in the map, as shares: all of it, or without
                                              the padding of `resize: pad`

        It is None for a network without a convolution.
        """

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.string, name="image_bytes"),
                tf.TensorSpec([None], tf.int64, name="labels"),
            ],
            autograph=False,
        )
        def explain(image_bytes: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
            encoded = self.canonical(image_bytes)
            pixels = self.apply_transform(encoded)[IMAGE]
            heat = make_heat_maps(pixels, self.model(pixels, training=False), labels)
            if self.padded_to is not None:
                return {"heat": heat, "frame": find_frames(encoded, self.padded_to)}
            return {"heat": heat, "frame": tf.tile(tf.constant([_WHOLE]), [tf.shape(encoded)[0], 1])}

        try:
            return explain.get_concrete_function()
        except Exception as e:  # noqa: BLE001 - a custom network that cannot be explained is served all the same
            logger.info("the model cannot be asked for heat maps (mirante predict --explain): %s", e)
            return None
