"""`mirante predict`: ask a pushed model."""

import contextlib
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any, Literal

import click

from components.base.errors import UsageError
from components.base.limits import DEFAULT_MAX_PIXELS, PILLOW_MAX_PIXELS
from components.base.redact import redact, redact_values
from components.base.words import format_count
from pipeline.commands.field_options import ShareRange
from pipeline.commands.shared import PathType, example


@click.command(epilog=example("mirante predict runs/digits photo.jpg photos/ --top 1 --csv answers.csv"))
@click.argument("model")
@click.argument("images", nargs=-1, metavar="IMAGE...")
@click.option(
    "--batch",
    metavar="INPUT",
    help="Answer all images of a folder or bucket, or of TFRecord files, into files in the folder -o; the "
    "same call continues after an interruption.",
)
@click.option("-o", "--out", metavar="OUT", help="Folder or bucket for the answers of --batch.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["parquet", "tfrecord"]),
    default="parquet",
    show_default=True,
    help="Files of --batch.",
)
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
    "--explain",
    metavar="DIR",
    type=PathType(),
    help="Draw where a classifier looks for its best class, one file per image: a heat map over it "
    "(Grad-CAM); replaces those of an earlier call.",
)
@click.option(
    "--csv",
    "csv_file",
    metavar="FILE",
    type=PathType(dir_okay=False),
    help="Write the answers as a table, a row per prediction; it appears when all are answered.",
)
@click.option(
    "--top",
    type=click.IntRange(1),
    metavar="K",
    help="Keep the K best predictions of an image.  [default: all]",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1, PILLOW_MAX_PIXELS),
    default=DEFAULT_MAX_PIXELS,
    show_default=True,
    help="Images with more pixels get an error as their answer.",
)
@click.option(
    "--language",
    metavar="CODE",
    help="Name the classes in this language, such as pt: one of those in data.class_names of the recipe.",
)
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the answers as JSON.")
def predict(
    model: str,
    images: tuple[str, ...],
    batch: str | None,
    out: str | None,
    file_format: Literal["parquet", "tfrecord"],
    min_score: float | None,
    draw: Path | None,
    explain: Path | None,
    csv_file: Path | None,
    top: int | None,
    max_pixels: int,
    language: str | None,
    as_json: bool,
) -> int:
    """Classify images, or detect objects in them, with a pushed model.

    MODEL is a pushed model, the folder of its versions, both also in a bucket (s3://, gs://), a run's root,
    or the address of a model store (mongodb://HOST/DATABASE/MODEL, models:/MODEL). IMAGE is a file or a
    folder of images with all folders in it, in the order of their names. A file that is not a usable image
    gets an error as its answer, the others are still answered, and the exit code is 1. Boxes are xmin, ymin,
    xmax, ymax in pixels of the upright image. With --batch, answers of any number of images are files of the
    folder OUT. The files are sent as they are, as a client would; if the model refuses one, a PNG of it is
    sent instead, with a note.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if batch is not None or out is not None:
        if batch is None or out is None or images or draw or explain or csv_file:
            raise UsageError(
                "--batch: expected --batch INPUT and -o OUT, got other arguments; leave them out"
            )
        return _predict_batch(
            model,
            batch,
            out,
            as_json,
            format=file_format,
            min_score=min_score,
            top=top,
            max_pixels=max_pixels,
            language=language,
        )
    if not images:
        raise UsageError("IMAGE: expected an image or a folder of images, got none; or give --batch")
    from components.base.printable import printable
    from components.prediction.answers import AnswerTable, as_lines
    from components.prediction.predict import answer_images
    from pipeline.run.console import make_console, progress_bar

    if csv_file is not None and not csv_file.absolute().parent.is_dir():
        raise UsageError(f"--csv {csv_file}: expected a file in a folder that is there")
    kept: list[dict[str, Any]] = []
    failed = False
    progress = None
    with contextlib.ExitStack() as stack:
        table = stack.enter_context(AnswerTable(csv_file)) if csv_file is not None else None
        # Where answers appear on the terminal, they show the progress themselves.
        if as_json or not sys.stdout.isatty():
            progress = stack.enter_context(progress_bar(make_console(to_stderr=True)))
        found = answer_images(
            model,
            images,
            min_score,
            draw,
            explain,
            top=top,
            max_pixels=max_pixels,
            language=language,
            progress=progress,
        )
        for answer, task, _, _ in found:
            if "error" in answer:
                failed = True
                click.echo(printable(f"{answer['image']}: {answer['error']}"), err=True)
            elif not as_json and task is not None:
                click.echo(as_lines(answer, task, min_score))
            if table is not None:
                table.add(answer)
            if as_json:
                kept.append(answer)
    if as_json:
        click.echo(json.dumps(redact_values(kept)))
    return 1 if failed else 0


def _predict_batch(model: str, source: str, out: str, as_json: bool, **settings: Any) -> int:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from components.prediction.batch import make_batch, run_batch
    from pipeline.engines.arguments import IN_MEMORY

    options = PipelineOptions(list(IN_MEMORY))
    done = run_batch(make_batch(model, source, out, **settings), lambda: beam.Pipeline(options=options))
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(done)))
    else:
        before = f", {done.found} of them from before" if done.found else ""
        click.echo(redact(f"{out}: {format_count(done.shards, 'file')} of answers{before}"))
        click.echo(f"  {format_count(done.images, 'image')}, {done.errors:,} of them with an error")
    return 1 if done.errors else 0
