"""ONNX, for ONNX Runtime and the many that read its files. Converted by tf2onnx."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf

from components.base.arrays import Array
from components.exporter.pixel_model import INPUT, PixelModel
from components.exporter.protocol import Ask

FILE = "model.onnx"
# Of 2022: devices rarely have the newest runtime.
OPSET = 17


def convert(model: PixelModel, calibration: Iterable[Array], folder: Path) -> None:
    """Write the model for any number of images at a time."""
    import onnx
    import tf2onnx

    spec = tf.TensorSpec([None, *model.shape], tf.uint8, name=INPUT)
    converted, _ = tf2onnx.convert.from_function(model.make_function(None), [spec], opset=OPSET)
    onnx.save(converted, str(folder / FILE))


def load(folder: Path) -> Ask:
    """Load the file with ONNX Runtime, on CPUs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / FILE), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def ask(pixels: Array) -> dict[str, Array]:
        return dict(zip(names, session.run(names, {INPUT: pixels}), strict=True))

    return ask
