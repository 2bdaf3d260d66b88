"""Exports a pushed model: converts, measures, and publishes what is good enough.

    OUT/<format>/model.tflite, model.onnx, ...   see `FORMATS`
    OUT/<format>/labels.txt                      the class names, one per line, in the order of their labels
    OUT/<format>/export.json                     inputs, outputs, and what was measured

A format's folder appears whole, by a rename, and none does if one of them has lost too much.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from components.base.arrays import Array
from components.base.errors import NotBlessedError, UsageError
from components.base.records import record_dataset
from components.base.saved_model import ASSETS, LABELS_FILE
from components.base.words import format_count
from components.exporter.facts import FACTS
from components.exporter.formats import FORMATS, check_formats
from components.exporter.measure import Measured, measure_answers, measure_size, measure_time, name_metric
from components.exporter.pixel_model import INPUT, PixelModel
from components.exporter.protocol import Ask

LABELS = os.path.basename(LABELS_FILE)
# The rounding error of a difference of two metrics.
_ROUNDING = 1e-9


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


@dataclasses.dataclass(frozen=True)
class Export:
    """A model in one format.

    Attributes:
        format: Its name in `FORMATS`.
        folder: Where it is.
        metric: Name of the metric that both are judged by; empty without test images, and if they have
            nothing to find.
        original: The model's figures; the metric is nan if `metric` is empty.
        measured: Those of the export.
        images: The number of test images.
    """

    format: str
    folder: str
    metric: str
    original: Measured
    measured: Measured
    images: int

    @property
    def drop(self) -> float:
        """The part of the metric that is lost; negative if the export is better, nan if not measured."""
        return self.original.metric - self.measured.metric


@dataclasses.dataclass(frozen=True)
class ExportData:
    """The files of records that an export needs: train to calibrate, test to judge."""

    train: Sequence[str]
    test: Sequence[str]


class _TrainingImages:
    """The pixels of the first training images, each uint8 [H, W, C], read anew by each loop."""

    def __init__(self, model: PixelModel, files: Sequence[str], count: int):
        self._model = model
        self._records = record_dataset(files).take(count)

    def __iter__(self) -> Iterator[Array]:
        for record in self._records.as_numpy_iterator():
            yield self._model.read_pixels([record])[0][0]


def export_model(
    model: Path,
    formats: Sequence[str],
    out: Path,
    data: ExportData,
    *,
    max_drop: float,
    calibration_images: int,
    progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> list[Export]:
    """Write a model in formats, each to the folder of its name in `out`.

    Args:
        model: The SavedModel.
        formats: Names of `FORMATS`.
        out: Created if it does not exist.
        data: The records of the model's data.
        max_drop: The most that the task's first metric may lose.
        calibration_images: Training images to look at for formats that need it.
        progress: Called as progress(phase, done, total).

    Raises:
        UsageError: A format is there already, cannot express the model, or has no training images to look at.
        NotBlessedError: A format lost more than `max_drop`, or answers NaN; none is published.
    """
    check_formats(formats)
    for name in formats:
        if os.path.lexists(out / name):
            raise UsageError(f"{out / name}: expected no such folder, got one; nothing is overwritten")
        if FORMATS[name].is_calibrated and not data.train:
            raise UsageError(f"{name}: expected training images to measure ranges on, got none; give --data")
    pixel_model = PixelModel(model)
    calibration = _TrainingImages(pixel_model, data.train, calibration_images)
    test = record_dataset(data.test)
    count = int(test.reduce(0, lambda done, record: done + 1))
    out.mkdir(parents=True, exist_ok=True)
    with _hidden_folders(out, formats) as folders:
        asks = {}
        for number, name in enumerate(formats):
            progress("convert", number, len(formats))
            module: ExportFormat = importlib.import_module(
                f"components.exporter.formats.{FORMATS[name].module}"
            )
            try:
                module.convert(pixel_model, calibration, folders[name])
                asks[name] = module.load(folders[name])
            except UsageError as e:
                raise UsageError(f"{name}: {e}") from e
        metric, metrics = measure_answers(
            pixel_model, asks, test.as_numpy_iterator(), lambda done: progress("measure", done, count)
        )
        original = Measured(metric, _size(model), _time_original(pixel_model))
        one = _make_blank(pixel_model)
        exports = [
            Export(
                name,
                str(out / name),
                "" if math.isnan(metric) else name_metric(pixel_model.task),
                original,
                Measured(metrics[name], _size(folders[name]), measure_time(asks[name], one)),
                count,
            )
            for name in formats
        ]
        _check_drops(exports, max_drop)
        for export in exports:
            _describe(pixel_model, export, folders[export.format])
        for name in formats:
            os.rename(folders[name], out / name)
    return exports


@contextlib.contextmanager
def _hidden_folders(out: Path, formats: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Make a hidden folder for each format; what is still there at the end is removed."""
    folders = {name: out / f".{name}.{uuid.uuid4().hex[:12]}.incomplete" for name in formats}
    try:
        for folder in folders.values():
            folder.mkdir()
        yield folders
    finally:
        for folder in folders.values():
            shutil.rmtree(folder, ignore_errors=True)


def _size(folder: Path) -> int:
    """Return the bytes of a model without what stands next to it for people and warm-up."""
    return measure_size(folder) - measure_size(folder / ASSETS)


def _make_blank(model: PixelModel) -> Array:
    import numpy as np

    return np.zeros((1, *model.shape), np.uint8)


def _time_original(model: PixelModel) -> float:
    function = model.make_function(None)
    # On a GPU the function returns before it is done.
    return measure_time(
        lambda pixels: {name: value.numpy() for name, value in function(pixels).items()}, _make_blank(model)
    )


def _check_drops(exports: Sequence[Export], max_drop: float) -> None:
    # Not `drop > ...`, which nan would pass.
    lost = [each for each in exports if each.metric and not each.drop <= max_drop + _ROUNDING]
    if lost:
        said = "; ".join(
            f"{each.format} has {each.metric} {each.measured.metric:.4f} instead of "
            f"{each.original.metric:.4f} on {format_count(each.images, 'test image')}"
            for each in lost
        )
        raise NotBlessedError(
            f"export.max_drop: expected at most {max_drop:g}, got {max(each.drop for each in lost):.4f}: "
            f"{said}; nothing was exported: raise the bound, or leave the format out"
        )


def _describe(model: PixelModel, export: Export, folder: Path) -> None:
    """Write the class names and the facts about an export into its folder."""
    height, width, channels = model.shape
    facts: dict[str, Any] = {
        "format": export.format,
        "file": FORMATS[export.format].file,
        "task": model.task,
        "class_names": list(model.class_names),
        "input": {
            "name": INPUT,
            "dtype": "uint8",
            "shape": [FORMATS[export.format].images, height, width, channels],
            "channels": "RGB" if channels == 3 else "gray",
        },
        "outputs": list(model.outputs),
        "size_bytes": export.measured.size_bytes,
        "original_size_bytes": export.original.size_bytes,
        "milliseconds": round(export.measured.milliseconds, 4),
        "original_milliseconds": round(export.original.milliseconds, 4),
    }
    if export.metric:
        facts |= {
            "metric": export.metric,
            "value": export.measured.metric,
            "original_value": export.original.metric,
            "test_images": export.images,
        }
    content = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / FACTS).write_text(f"{content}\n", encoding="utf-8")
    labels = "".join(f"{name}\n" for name in model.class_names)
    (folder / LABELS).write_text(labels, encoding="utf-8")
