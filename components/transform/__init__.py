"""Transform: encoded images to normalised pixels, in one graph for training, evaluation and serving.

config.py           the recipe's part `transform`
preprocessing.py    the entry point itself, which asks the task what goes along with the pixels
pixels.py           decoding, resizing and normalising
levels.py           the values of black and white, which bring pixels back to 0..1
canonical_graph.py  what ingest does to an image's bytes, as a graph for serving
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf


def preprocessing_fn(inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    """See `components.transform.preprocessing.preprocessing_fn`: TFX's entry point."""
    from components.transform import preprocessing

    return preprocessing.preprocessing_fn(inputs, custom_config)
