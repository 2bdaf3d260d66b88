"""Measures an export against the model that it was made of: on the test split, and by size and time."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.base.arrays import Array
from components.base.errors import NotBlessedError
from components.base.task import part, task_named
from components.exporter.protocol import Ask, TaskExport

if TYPE_CHECKING:
    from components.exporter.pixel_model import PixelModel

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
    records: Iterable[bytes],
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[float, dict[str, float]]:
    """Return the task's first metric on records: of the model itself, and of exports by their names.

    The records are read once, and their images are not kept. A metric is nan if there is no record, or if
    the records have nothing to find.

    Args:
        model: The model, which gets the records.
        asks: The exports, which get pixels of 8 bits, as on a device.
        records: Serialized examples.
        progress: Called with the number of images that were judged.

    Raises:
        NotBlessedError: The model or an export answers NaN or infinity.
    """
    asked: TaskExport = part(model.task, "export")
    answers: dict[str, list[Mapping[str, Array]]] = {name: [] for name in ("", *asks)}
    frames: list[Array | None] = []
    truths: list[Any] = []
    for batch in _batches(records):
        pixels, frame = model.read_pixels(batch)
        frames.append(frame)
        truths += map(asked.read_truth, batch)
        answers[""].append(_take_finite(str(model.folder), asked, model.answer_records(batch)))
        for name, ask in asks.items():
            answers[name].append(_take_finite(name, asked, ask(pixels)))
        progress(len(truths))
    if not truths:
        return float("nan"), dict.fromkeys(asks, float("nan"))
    there = [frame for frame in frames if frame is not None]
    of_pixels = np.concatenate(there) if len(there) == len(frames) else None

    def judge(name: str, frames: Array | None) -> float:
        found = {key: np.concatenate([each[key] for each in answers[name]]) for key in asked.OUTPUTS}
        return asked.measure(found, frames, truths, model.class_names)

    return judge("", None), {name: judge(name, of_pixels) for name in asks}


def _take_finite(name: str, asked: TaskExport, answers: Mapping[str, Array]) -> dict[str, Array]:
    """Return the outputs that are judged; NaN would pass for an answer."""
    found = {key: answers[key] for key in asked.OUTPUTS}
    for key, values in found.items():
        if not np.isfinite(values).all():
            raise NotBlessedError(
                f"{name}: expected finite numbers, got NaN or infinity in {key} for an image of the test "
                "split; nothing was exported: leave the format out, or export another version of the model"
            )
    return found


def measure_time(ask: Callable[[Array], Any], pixels: Array) -> float:
    """Return the median milliseconds of requests with one image, the first ones left out.

    Args:
        ask: What is asked; returns when the answer is there.
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


def _batches(records: Iterable[bytes]) -> Iterator[list[bytes]]:
    remaining = iter(records)
    while batch := list(itertools.islice(remaining, _BATCH)):
        yield batch
