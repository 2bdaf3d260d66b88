"""OpenVINO's intermediate representation, for Intel's processors. Converted by OpenVINO itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from components.base.arrays import Array
from components.exporter.pixel_model import INPUT, PixelModel
from components.exporter.protocol import Ask

FILE = "model.xml"


def convert(model: PixelModel, calibration: Iterable[Array], folder: Path) -> None:
    """Write the model for any number of images at a time, its weights in 16 bits as OpenVINO does."""
    import openvino

    frozen = convert_variables_to_constants_v2(model.make_function(None).get_concrete_function())
    graph = folder / "frozen.pb"
    graph.write_bytes(frozen.graph.as_graph_def().SerializeToString())
    # Not `openvino.convert_model`, which reports its use over the network.
    converted = openvino.Core().read_model(graph)
    converted.inputs[0].tensor.set_names({INPUT})
    # TensorFlow has them in the order of their names.
    for name, output in zip(sorted(model.outputs), frozen.outputs, strict=True):
        converted.output(output.name).tensor.set_names({name})
    openvino.save_model(converted, folder / FILE)
    graph.unlink()


def load(folder: Path) -> Ask:
    """Load the file with OpenVINO, on CPUs."""
    import openvino

    core = openvino.Core()
    model = core.read_model(folder / FILE)
    # Compiled, an output may have the names of operations before it too.
    names = [output.any_name for output in model.outputs]
    compiled = core.compile_model(model, "CPU")

    def ask(pixels: Array) -> dict[str, Array]:
        found = compiled({INPUT: pixels})
        return {name: found[name] for name in names}

    return ask
