"""`mirante export`: a pushed model in the formats of other runtimes."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.base.redact import redact
from components.exporter.formats import FORMATS, check_formats
from pipeline.commands.field_options import ShareRange
from pipeline.commands.shared import PathType, example

if TYPE_CHECKING:
    from components.exporter.export import Export


@click.command(epilog=example("mirante export runs/digits --format tflite --format onnx -o exports"))
@click.argument("model")
@click.option(
    "--format",
    "formats",
    type=click.Choice(list(FORMATS)),
    multiple=True,
    required=True,
    help="A format; may be given more than once.",
)
@click.option(
    "-o",
    "--out",
    type=PathType(file_okay=False),
    required=True,
    metavar="OUT",
    help="Folder for the exports, each in a folder with the name of its format; nothing is overwritten.",
)
@click.option(
    "--data",
    metavar="DIR",
    help="Records to measure with, as `mirante ingest` writes them.  [default: those of the run]",
)
@click.option(
    "--max-drop",
    type=ShareRange(),
    default=0.02,
    show_default=True,
    help="Refuse to export if accuracy (else mean average precision) on the test split falls by more.",
)
@click.option(
    "--calibration-images",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Training images that formats with 8 bits measure ranges on.",
)
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the result as JSON.")
def export(
    model: str,
    formats: tuple[str, ...],
    out: Path,
    data: str | None,
    max_drop: float,
    calibration_images: int,
    as_json: bool,
) -> int:
    """Write a pushed model in formats of other runtimes.

    MODEL is a pushed model, the folder of its versions, a run's root, or the address of a model store. An
    export takes decoded images, uint8 of the network's size, with the normalisation inside. Each is asked
    about the test split with its own runtime, and compared with the model: accuracy, size, and time for an
    image.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from components.exporter.export import ExportData, export_model
    from components.prediction.asked import saved_model_folder
    from pipeline.history.records import find_records
    from pipeline.run.console import make_console, progress_bar, quiet_libraries
    from schemas import features

    names = tuple(dict.fromkeys(formats))
    check_formats(names)
    folder = saved_model_folder(model)
    found = find_records(folder, data)
    console = make_console(to_stderr=True)
    with (
        tempfile.TemporaryDirectory() as temporary,
        progress_bar(console) as progress,
        # What converters print is of no use to users.
        quiet_libraries(Path(temporary) / "libraries.log", console),
    ):
        exports = export_model(
            folder,
            names,
            out,
            ExportData(found[features.TRAIN], found[features.TEST]),
            max_drop=max_drop,
            calibration_images=calibration_images,
            progress=progress,
        )
    for each in exports:
        click.echo(redact(each.folder))
        for line in _describe(each):
            click.echo(f"  {line}")
    if as_json:
        click.echo(json.dumps([_as_json(each) for each in exports], allow_nan=False))
    return 0


def _describe(export: Export) -> list[str]:
    """Return lines that compare an export with the model."""
    new, old = export.measured, export.original
    lines = [
        f"size         {new.size_bytes:12,} bytes, the model {old.size_bytes:,}",
        f"milliseconds {new.milliseconds:12.3f} per image, the model {old.milliseconds:.3f}",
    ]
    if export.metric:
        lines.insert(0, f"{export.metric:12} {new.metric:12.4f}, the model {old.metric:.4f}")
    elif export.images:
        lines.insert(0, "not measured on images: those of the test split have nothing to find")
    else:
        lines.insert(0, "not measured on images: no test split; give --data")
    return lines


def _as_json(export: Export) -> dict[str, Any]:
    values = dataclasses.asdict(export)
    for figures in (values["original"], values["measured"]):
        figures["metric"] = None if math.isnan(figures["metric"]) else figures["metric"]
    return values
