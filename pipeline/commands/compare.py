"""`mirante compare`: runs side by side."""

import json
from pathlib import Path

import click

from components.base.errors import UsageError
from components.base.redact import redact_values
from pipeline.commands.shared import PathType, example, working
from pipeline.run.output import check_can_write


@click.command(epilog=example("mirante compare pushed latest --root runs/digits -o compared.html"))
@click.argument("names", nargs=-1, required=True, metavar="RUN RUN...")
@click.option(
    "--root",
    "roots",
    multiple=True,
    metavar="ROOT",
    help="Where runs are looked up: a root, or a folder of roots; again for more.  [default: runs]",
)
@click.option(
    "-o",
    "--output",
    type=PathType(),
    metavar="FILE.html",
    help="Write a page too: also with curves, and images that one gets right and the other wrong.",
)
@click.option(
    "--language",
    metavar="CODE",
    help="Name the classes in this language, such as pt, of data.class_names in the recipes.  "
    "[default: about.language of the first run]",
)
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the comparison as JSON.")
def compare(
    names: tuple[str, ...], roots: tuple[str, ...], output: Path | None, language: str | None, as_json: bool
) -> int:
    """Show runs side by side: metrics, settings, and test images that one model alone gets right.

    RUN is the ID of a run or its beginning, the path of a run, the path of a root for its latest run,
    `latest`, or `pushed` for the last run whose pushed model is still there. If two runs were tested on the
    same images, McNemar's test says whether their accuracy differs by more than chance.
    """
    from pipeline.history.compare import compare_runs
    from pipeline.history.runs import choose_run
    from pipeline.history.text import format_comparison

    if output is not None:
        check_can_write(output, "-o")
    if language is not None and output is None:
        raise UsageError(
            "--language: expected -o FILE.html too, since only the page names classes; leave it out or add -o"
        )
    if len(names) < 2:
        raise UsageError(f"RUN RUN...: expected two runs or more, got {len(names)}")
    comparison = compare_runs([choose_run(name, roots) for name in names])
    if output is not None:
        from pipeline.report.comparison import write_comparison

        with working("writing the page"):
            write_comparison(comparison, output, language)
    if as_json:
        click.echo(json.dumps(redact_values(comparison.to_json())))
    else:
        click.echo(format_comparison(comparison))
    return 0
