"""The formats of other runtimes. Imports neither TensorFlow nor the runtimes.

A new format is a module with `convert` and `load` (`ExportFormat`), and a row of
`FORMATS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from components.base.arrays import Array
    from components.exporter.pixel_model import PixelModel
    from components.exporter.protocol import Ask


@dataclasses.dataclass(frozen=True)
class Format:
    """A format, and a row of the table in docs/export.md.

    Attributes:
        module: The module of `components.exporter.formats`.
        file: The file to load, in the folder of the export; empty for the folder itself.
        what: What it is, in words.
        needs: Packages that it imports besides TensorFlow; the extra `export` has them.
        is_calibrated: Whether the conversion looks at training images.
        images: The number of images that it takes at a time; any when None.
    """

    module: str
    file: str
    what: str
    needs: tuple[str, ...] = ()
    is_calibrated: bool = False
    images: int | None = None


class ExportFormat(Protocol):
    """The module of a format."""

    def convert(self, model: PixelModel, calibration: Iterable[Array], folder: Path) -> None:
        """Write the model in the format.

        Args:
            model: The model.
            calibration: Training images, each uint8 [height, width, channels], read while they are looked
                at.
            folder: Where its files go; it exists.

        Raises:
            UsageError: The format cannot express this model.
        """

    def load(self, folder: Path) -> Ask:
        """Load what `convert` wrote, with the format's own runtime."""


FORMATS = {
    "tflite": Format(
        "tflite",
        "model.tflite",
        "LiteRT (TensorFlow Lite), weights of 32 bits",
        ("ai_edge_litert",),
        images=1,
    ),
    "tflite_int8": Format(
        "tflite_int8",
        "model.tflite",
        "LiteRT, weights and arithmetic in 8 bits",
        ("ai_edge_litert",),
        is_calibrated=True,
        images=1,
    ),
    "onnx": Format("onnx", "model.onnx", "ONNX, weights of 32 bits", ("tf2onnx", "onnxruntime")),
    "openvino": Format("openvino", "model.xml", "OpenVINO, weights of 16 bits", ("openvino",)),
    "saved_model_fp16": Format(
        "saved_model_fp16", "", "SavedModel for TensorFlow Serving, weights of 16 bits"
    ),
}
