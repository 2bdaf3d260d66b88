"""`mirante inspect`: look at data before any training."""

import contextlib
import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import click

from components.base.errors import DataRefusedError, MiranteError, UsageError
from components.base.redact import redact_values
from pipeline.commands.field_options import FieldsCommand, settings_from
from pipeline.commands.shared import PathType, example
from pipeline.run.output import check_can_write

# Options of an ingest that say how its shards are written, or what it remembers.
_NOT_ASKED = ("shards", "resize_px")


def _settings() -> Any:
    from components.ingest.config import OPTIONS, IngestConfig

    return IngestConfig, tuple(name for name in OPTIONS if name not in _NOT_ASKED)


@click.command(
    cls=FieldsCommand,
    settings=_settings,
    given={
        "images": {"type": PathType(), "metavar": "DIR"},
        "label_map": {"type": PathType(), "metavar": "FILE"},
    },
    epilog=example("mirante inspect photos/ --draw drawn/ --html photos.html"),
)
@click.argument("data")
@click.option("--source", metavar="NAME", help="Format of the data, as for ingest; guessed by default.")
@click.option("--all", "all_images", is_flag=True, help="Look at the pixels of all images, not of a sample.")
@click.option(
    "--model", metavar="MODEL", help="A pushed model; images whose label it disagrees with are listed."
)
@click.option(
    "--draw", metavar="DIR", type=PathType(), help="Draw some images with their boxes, or some of each class."
)
@click.option(
    "--html", "page_file", metavar="FILE", type=PathType(), help="Write what was found out as a page too."
)
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the facts as JSON.")
def inspect(
    data: str,
    source: str | None,
    all_images: bool,
    model: str | None,
    draw: Path | None,
    page_file: Path | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Look at data before any training, in seconds.

    DATA is a folder, an archive or a list that `mirante ingest` reads, or a folder that it has written. Shows
    which source reads the data and why, classes, splits, sizes, copies, rejects, boxes and images to look at;
    the last line is the command to run next. Writes nothing, except into the folder of --draw and the page of
    --html, which also shows images of each class. The exit code is 3 if a run would refuse the data.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # the source tfds and --model load TensorFlow
    from components.ingest import IngestConfig
    from components.ingest.manifest import is_manifest
    from pipeline.inspection.inspect import inspect as look
    from pipeline.inspection.look import Asked
    from pipeline.inspection.text import format_facts
    from pipeline.run.console import make_console, progress_bar

    if page_file is not None:
        check_can_write(page_file, "--html")
    config = settings_from(IngestConfig, options)
    given = [name for name, value in options.items() if value is not None and name in config.model_fields_set]
    changed = [name for name in given if getattr(config, name) != IngestConfig.model_fields[name].default]
    try:
        with contextlib.ExitStack() as stack:
            progress = stack.enter_context(progress_bar(make_console(to_stderr=True)))
            drawn = draw
            if page_file is not None and draw is None and not is_manifest(Path(data)):
                drawn = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mirante-inspect-")))
            facts = look(Asked(data, source, config, tuple(changed), all_images, drawn, model), progress)
            images, facts = facts.drawn, facts if draw else dataclasses.replace(facts, drawn=[])
            if page_file is not None:
                from pipeline.report.data_page import write_data_page

                write_data_page(facts, images, page_file)
    except UsageError:
        raise
    except MiranteError as e:
        if as_json:
            click.echo(json.dumps(redact_values({"data": data, "error": str(e)})))
        raise
    if as_json:
        click.echo(json.dumps(redact_values(facts.to_json()), allow_nan=False))
    else:
        click.echo(format_facts(facts))
    return DataRefusedError.exit_code if facts.refused else 0
