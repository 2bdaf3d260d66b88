"""`mirante predict`: ask a pushed model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from components.base.errors import UsageError
from components.base.limits import DEFAULT_MAX_PIXELS, PILLOW_MAX_PIXELS
from components.base.redact import redact_values
from pipeline.commands.field_options import ShareRange
from pipeline.commands.shared import PathType, example
from pipeline.run.output import describe_os_error


@click.command(epilog=example("mirante predict runs/digits photo.jpg photos/ --json"))
@click.argument("model")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--min-score",
    type=ShareRange(),
    help="Hide predictions below this score.  [default: 0; boxes 0.01, drawn boxes 0.3]",
)
@click.option(
    "--draw",
    metavar="DIR",
    type=PathType(),
    help="Draw the boxes of a detector, one file per image; replaces those of an earlier call.",
)
@click.option(
    "--csv",
    "csv_file",
    metavar="FILE",
    type=PathType(dir_okay=False),
    help="Write the answers as a table, a row per prediction.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1, PILLOW_MAX_PIXELS),
    default=DEFAULT_MAX_PIXELS,
    show_default=True,
    help="Images with more pixels get an error as their answer.",
)
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the answers as JSON.")
def predict(
    model: str,
    images: tuple[str, ...],
    min_score: float | None,
    draw: Path | None,
    csv_file: Path | None,
    max_pixels: int,
    as_json: bool,
) -> int:
    """Classify images, or detect objects in them, with a pushed model.

    MODEL is a pushed model, the folder of its versions, or a run's root. IMAGE is a file or a folder of
    images. A file that is not a usable image gets an error as its answer, the others are still answered, and
    the exit code is 1. Boxes are xmin, ymin, xmax, ymax in pixels of the upright image. The files are sent as
    they are, as a client would; if the model refuses one, a PNG of it is sent instead, with a note.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from components.base.printable import printable
    from components.ingest.files import decode_name
    from pipeline.prediction.answers import as_lines, write_csv
    from pipeline.prediction.predict import Answered, ask

    if csv_file is not None and not csv_file.absolute().parent.is_dir():
        raise UsageError(f"--csv {csv_file}: expected a file in a folder that is there")
    try:
        answered = ask(model, images, min_score, draw, max_pixels=max_pixels)
    except UsageError:
        raise
    except Exception as e:  # noqa: BLE001 - every image is answered, also when the model is damaged
        told = describe_os_error(e) if isinstance(e, OSError) else str(e) or type(e).__name__
        reason = f"the model could not be asked: {told}"
        answers = [{"image": decode_name(os.fsencode(image)), "error": reason} for image in images]
        answered = Answered(answers, None)
    answers = answered.answers
    failed = any("error" in item for item in answers)
    for item in answers:
        if "error" in item:
            click.echo(printable(f"{item['image']}: {item['error']}"), err=True)
        elif not as_json and answered.task is not None:
            click.echo(as_lines(item, answered.task, min_score))
    if csv_file is not None:
        try:
            write_csv(answers, csv_file)
        except OSError as e:
            click.echo(printable(f"--csv {csv_file}: cannot be written: {e.strerror or e}"), err=True)
            failed = True
    if as_json:
        click.echo(json.dumps(redact_values(answers)))
    return 1 if failed else 0
