"""LiteRT, which was called TensorFlow Lite: one file for telephones and small computers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tensorflow as tf

from components.base.arrays import Array
from components.base.errors import UsageError
from components.exporter.pixel_model import INPUT, PixelModel
from components.exporter.protocol import Ask

FILE = "model.tflite"


def make_converter(model: PixelModel, dtype: Any) -> Any:
    """Return TensorFlow's converter for one image at a time: shapes that are known suit small devices."""
    module = tf.Module()
    module.answer = model.make_function(1, dtype)
    return tf.lite.TFLiteConverter.from_concrete_functions([module.answer.get_concrete_function()], module)


def write(converter: Any, folder: Path) -> None:
    """Convert, and write the file.

    Raises:
        UsageError: The model has an operation that LiteRT does not have.
    """
    try:
        content = converter.convert()
    except Exception as e:
        raise UsageError(f"expected operations that LiteRT has, got {str(e).splitlines()[0]}") from e
    (folder / FILE).write_bytes(content)


def convert(model: PixelModel, calibration: Iterable[Array], folder: Path) -> None:
    """Write the model with weights of 32 bits."""
    write(make_converter(model, tf.uint8), folder)


def load(folder: Path) -> Ask:
    """Load the file with LiteRT's own interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=str(folder / FILE)).get_signature_runner()

    def ask(pixels: Array) -> dict[str, Array]:
        answers = [runner(**{INPUT: pixels[row : row + 1]}) for row in range(len(pixels))]
        return {name: tf.concat([each[name] for each in answers], 0).numpy() for name in answers[0]}

    return ask
