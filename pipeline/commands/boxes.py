"""`mirante boxes`: boxes in the formats of other programs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from components.annotations.formats import FORMATS
from components.base.errors import UsageError
from components.base.printable import printable
from components.base.redact import redact
from components.base.words import format_count
from pipeline.commands.field_options import ShareRange
from pipeline.commands.shared import PathType, example


@click.command(epilog=example("mirante boxes data/ coco/ --format coco"))
@click.argument("source", metavar="INPUT", type=PathType(exists=True))
@click.argument("out", metavar="OUT", type=PathType())
@click.option(
    "--format",
    "file_format",
    type=click.Choice(list(FORMATS)),
    required=True,
    help="Files of the boxes: " + "; ".join(f"{name}, {what}" for name, what in FORMATS.items()) + ".",
)
@click.option(
    "--model",
    metavar="MODEL",
    help="INPUT is images: write what this detector finds on them, to be corrected by hand.",
)
@click.option(
    "--min-score", type=ShareRange(), help="Lowest score of a box that --model finds.  [default: 0.5]"
)
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the result as JSON.")
def boxes(
    source: Path, out: Path, file_format: str, model: str | None, min_score: float | None, as_json: bool
) -> int:
    """Write boxes with their images, for other programs.

    INPUT is a folder that `mirante ingest` wrote; with --model it is an image or a folder of images. OUT is a
    new folder, which appears when all is written: the images by split, the boxes, and classes.txt. `mirante
    ingest FORMAT OUT` reads it again.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    failed = 0
    if model is None:
        if min_score is not None:
            raise UsageError("--min-score: expected --model with it, got none; labels have no score")
        from components.annotations.write import write_records

        done = write_records(source, out, file_format)
    else:
        from components.annotations.predictions import write_predictions
        from pipeline.run.console import make_console, progress_bar

        with progress_bar(make_console(to_stderr=True)) as progress:
            done, failed = write_predictions(
                model,
                source,
                out,
                file_format,
                0.5 if min_score is None else min_score,
                lambda text: click.echo(printable(text), err=True),
                progress,
            )
    if as_json:
        click.echo(
            json.dumps({"out": str(out), "images": done.images, "boxes": done.boxes, "errors": failed})
        )
    else:
        counted = f"{format_count(done.images, 'image')}, {format_count(done.boxes, 'box', 'boxes')}"
        click.echo(redact(f"{printable(str(out))}: {counted}"))
    return 1 if failed else 0
