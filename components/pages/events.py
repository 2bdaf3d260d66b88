"""Reads the event files that the Trainer keeps next to the model.

components/trainer/tracking/event_files.py writes them. An event file is a TFRecord file of `Event` messages,
which can be read without TensorFlow.
"""

import dataclasses
import os
import struct
from typing import Any

from components.base import files
from components.base.errors import DataRefusedError

# How TensorFlow's types float32 and float64 hold a scalar.
_FORMATS = {1: ("<f", "float_val"), 2: ("<d", "double_val")}


@dataclasses.dataclass
class Stage:
    """A stage of a training.

    Attributes:
        name: Its folder; empty for events about all stages.
        began: Seconds since 1970.
        curves: Steps and values by name, in the order of steps.
        images: PNG files by name.
        texts: Texts by name.
    """

    name: str
    began: float
    curves: dict[str, list[tuple[int, float]]] = dataclasses.field(default_factory=dict)
    images: dict[str, bytes] = dataclasses.field(default_factory=dict)
    texts: dict[str, str] = dataclasses.field(default_factory=dict)


def read_stages(folder: str) -> list[Stage]:
    """Return all stages below a folder, in the order in which they began.

    A training that was killed and resumed has several files per stage. Where two of them have the same step,
    the later file counts.
    """
    stages: dict[str, Stage] = {}
    points: dict[tuple[str, str], dict[int, float]] = {}
    for path in files.list_below(folder):
        if "tfevents" not in os.path.basename(path):
            continue
        name = os.path.relpath(os.path.dirname(path), folder).replace(".", "", 1)
        for event in _read_events(path):
            stage = stages.setdefault(name, Stage(name, event.wall_time))
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    points.setdefault((name, value.tag), {})[event.step] = _read_scalar(value.tensor)
                elif value.metadata.plugin_data.plugin_name == "images":
                    # Width and height come first.
                    stage.images[value.tag] = value.tensor.string_val[2]
                elif value.metadata.plugin_data.plugin_name == "text":
                    stage.texts[value.tag] = b"".join(value.tensor.string_val).decode("utf-8")
    for (name, tag), by_step in points.items():
        stages[name].curves[tag] = sorted(by_step.items())
    return sorted(stages.values(), key=lambda stage: stage.began)


def _read_events(path: str) -> Any:
    from tensorboard.compat.proto import event_pb2

    from components.base.tfrecord import iterate_records

    with files.open_binary(path) as file:
        try:
            for record in iterate_records(file, path):
                yield event_pb2.Event.FromString(record)
        except DataRefusedError:
            # A killed training leaves half a record at the end; the records before it are whole.
            return


def _read_scalar(tensor: Any) -> float:
    layout, field = _FORMATS[tensor.dtype]
    if tensor.tensor_content:
        return float(struct.unpack(layout, tensor.tensor_content)[0])
    return float(getattr(tensor, field)[0])
