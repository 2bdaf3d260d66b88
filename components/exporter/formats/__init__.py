"""The formats of other runtimes. Imports neither TensorFlow nor the runtimes.

A new format is a module with `convert` and `load` (`components.exporter.export`), and a row of `FORMATS`.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence

from components.base.errors import UsageError
from components.base.extras import install_command


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


def check_formats(names: Sequence[str]) -> None:
    """Check that the packages of formats are installed.

    Raises:
        UsageError: One of them is not.
    """
    for name in names:
        missing = [package for package in FORMATS[name].needs if importlib.util.find_spec(package) is None]
        if missing:
            raise UsageError(
                f"{name}: expected the package {missing[0]}, which is not installed; "
                f"{install_command('export')}"
            )
