"""`mirante ingest`: turn raw images into checked TFRecord shards."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import click

from components.base.errors import UsageError
from components.base.printable import printable_lines
from components.base.redact import redact_values
from pipeline.commands.field_options import FieldsCommand, settings_from
from pipeline.commands.shared import INTERRUPTED_SAID, PathOrBucketType, PathType, example, exit_code


def _ingest_settings() -> Any:
    from components.ingest.config import OPTIONS, IngestConfig

    return IngestConfig, OPTIONS


def _ingest_words() -> dict[str, str]:
    from components.base.task import task_named
    from components.ingest.sources import SOURCES, sources_for
    from schemas import features

    shown = []
    for kind in features.TASKS:
        formats = ", ".join(f"{name} ({SOURCES[name].formats[kind]})" for name in sources_for(kind))
        shown.append(f"For {task_named(kind).gives}: {formats}.")
    endings = dict.fromkeys(suffix for source in SOURCES.values() for suffix in source.suffixes[:1])
    return {"sources": " ".join(shown), "endings": ", ".join(endings)}


@click.command(
    cls=FieldsCommand,
    settings=_ingest_settings,
    words=_ingest_words,
    given={
        "images": {"type": PathType(), "metavar": "DIR"},
        "near_copies": {"flag": "--near-copies/--no-near-copies"},
        "label_map": {"type": PathType(), "metavar": "FILE"},
        "resize_px": {"flag": "--resize", "metavar": "PX"},
    },
    epilog=example("mirante ingest folder photos/ data/ --splits train=0.8,eval=0.1,test=0.1"),
)
@click.argument("source")
@click.argument("input_path", metavar="INPUT", type=PathOrBucketType())
@click.argument("output", metavar="OUTPUT", type=PathOrBucketType())
@click.option("--force", is_flag=True, help="Start from scratch, even if OUTPUT holds other files.")
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the result as JSON.")
def ingest(
    source: str,
    input_path: Path | str,
    output: Path | str,
    force: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Turn raw images into checked TFRecord shards.

    SOURCE is the format of INPUT. {sources}

    INPUT is a folder, a .zip or a .tar(.gz), or for some sources the file itself ({endings}). INPUT and
    OUTPUT may be in buckets, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # the source tfds loads TensorFlow
    from components import ingest as ingest_package
    from components.base.os_errors import explain_os_error
    from components.base.words import format_count, format_row
    from pipeline.run.console import make_console, progress_bar
    from pipeline.storage.here import IngestCopies

    console = make_console(to_stderr=True)
    result: dict[str, Any] = {}
    code = 0
    copies = IngestCopies()
    try:
        config = settings_from(ingest_package.IngestConfig, options)
        given = None
        if str(input_path) != "-":
            given = copies.fetch_input(input_path, source, is_alone=config.images is not None)
        target = copies.fetch_output(output)
        with progress_bar(console) as progress:
            done = ingest_package.ingest(
                source, given, target, config, progress, force=force, trust_times=copies.are_input
            )
        copies.send_output(target)
    except UsageError:
        raise
    except (Exception, KeyboardInterrupt) as raised:  # noqa: BLE001 - scripts read it from the JSON
        e = explain_os_error(raised, [Path(output)]) or raised
        code = exit_code(e)
        error = INTERRUPTED_SAID if isinstance(e, KeyboardInterrupt) else str(e) or type(e).__name__
        # Of this call alone: OUTPUT may hold the list of an earlier one.
        rejects = getattr(e, "rejects_file", None)
        result = {
            "splits": {},
            "rejected": getattr(e, "rejected", None),
            "rejects_file": None if rejects is None else str(rejects),
            "error": error,
        }
        console.print(f"mirante: {printable_lines(error)}", markup=False, soft_wrap=True)
    else:
        result = {
            "splits": {name: dataclasses.asdict(summary) for name, summary in done.splits.items()},
            "rejected": done.rejected,
            "rejects_file": copies.show(done.rejects_file),
            "left_out": done.left_out,
        }
        for warning in done.warnings:
            shown = format_row("warning:", printable_lines(warning), width=9, indent=0)
            console.print(shown, markup=False, soft_wrap=True)
        if not as_json:
            what = "unchanged, nothing to do" if done.unchanged else "ingested"
            classes = format_count(done.class_names, "class", "classes")
            click.echo(f"{output}: {what}; {classes}, {done.rejected:,} rejected")
            for name, summary in done.splits.items():
                shards = format_count(summary.shards, "shard")
                images = "image" if summary.images == 1 else "images"
                click.echo(f"  {name:6}{summary.images:10,} {images} in {shards}")
            if done.rejected:
                click.echo(f"rejected files and why: {copies.show(done.rejects_file)}")
            if done.left_out:
                left_out = format_count(done.left_out, "file or folder", "files and folders")
                click.echo(f"left out, {left_out}: {copies.show(done.left_out_file)}")
    if as_json:
        click.echo(json.dumps(redact_values(result)))
    return code
