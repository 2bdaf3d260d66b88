"""LiteRT in 8 bits, for microcontrollers and accelerators that have integers alone.

Images go in as they are, uint8: a scale of 1 and a zero point of 0. Answers are float32 again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from components.base.arrays import Array
from components.exporter.formats import tflite
from components.exporter.formats.tflite import load
from components.exporter.pixel_model import INPUT, PixelModel

__all__ = ["convert", "load"]


def convert(model: PixelModel, calibration: Iterable[Array], folder: Path) -> None:
    """Write the model with ranges that are measured on training images."""

    def give_images() -> Iterator[dict[str, Array]]:
        for number, image in enumerate(calibration):
            given = image[np.newaxis].astype(np.float32)
            if number == 0:
                # The whole range of a byte, so that a byte is what it is: two pixels change no other range.
                given[0, 0, 0], given[0, -1, -1] = 0.0, 255.0
            yield {INPUT: given}

    converter = tflite.make_converter(model, tf.float32)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = give_images
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    tflite.write(converter, folder)
