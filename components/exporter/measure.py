"""Measures an export against the model that it was made of: on the test split, and by size and time."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.base.arrays import Array
from components.base.task import part, task_named
from components.exporter.pixel_model import PixelModel
from components.exporter.protocol import Ask, TaskExport

_BATCH = 32
_REQUESTS = 30
_WARM_UPS = 3


@dataclasses.dataclass(frozen=True)
class Measured:
    """Figures of a model or an export.

    Attributes:
        metric: The task's first metric on the test split.
        size_bytes: All its files.
        milliseconds: Median time for the pixels of one image.
    """

    metric: float
    size_bytes: int
    milliseconds: float


def measure_size(folder: Path) -> int:
    """Return the bytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure_answers(
    model: PixelModel,
    asks: Mapping[str, Ask],
    records: Sequence[bytes],
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[float, dict[str, float]]:
    """Return the task's first metric on records: of the model itself, and of exports by their names.

    Args:
        model: The model, which gets the records.
        asks: The exports, which get pixels of 8 bits, as on a device.
        records: Serialized examples.
        progress: Called with the number of images that were judged.
    """
    asked: TaskExport = part(model.task, "export")
    answers: dict[str, list[Mapping[str, Array]]] = {name: [] for name in ("", *asks)}
    frames: list[Array | None] = []
    for batch in _batches(records):
        pixels, frame = model.read_pixels(batch)
        frames.append(frame)
        answers[""].append(model.answer_records(batch))
        for name, ask in asks.items():
            answers[name].append(ask(pixels))
        progress(len(answers[""]) * _BATCH)
    there = [frame for frame in frames if frame is not None]
    of_pixels = np.concatenate(there) if len(there) == len(frames) else None

    def judge(name: str, frames: Array | None) -> float:
        found = {key: np.concatenate([each[key] for each in answers[name]]) for key in asked.OUTPUTS}
        return asked.measure(found, frames, records, model.class_names)

    return judge("", None), {name: judge(name, of_pixels) for name in asks}


def measure_time(ask: Callable[[Array], Any], pixels: Array) -> float:
    """Return the median milliseconds of requests with one image, the first ones left out.

    Args:
        ask: What is asked.
        pixels: uint8 [1, height, width, channels].
    """
    seconds = []
    for _ in range(_WARM_UPS + _REQUESTS):
        began = time.perf_counter()
        ask(pixels)
        seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds[_WARM_UPS:])


def name_metric(task: str) -> str:
    """Return the name of the metric that exports are judged by."""
    return task_named(task).metrics[0]


def _batches(records: Sequence[bytes]) -> Iterator[list[bytes]]:
    remaining = iter(records)
    while batch := list(itertools.islice(remaining, _BATCH)):
        yield batch
