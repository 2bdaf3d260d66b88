"""`mirante report`: the page of a run."""

import os
from pathlib import Path

import click

from pipeline.commands.shared import PathType, example, working
from pipeline.run.output import check_can_write


@click.command(epilog=example("mirante report latest --open"))
@click.argument("name", metavar="RUN")
@click.option("-o", "--output", type=PathType(), help="File to write.  [default: the run's report.html]")
@click.option("--open", "is_opened", is_flag=True, help="Show it in the browser.")
@click.option(
    "--root",
    "roots",
    multiple=True,
    metavar="ROOT",
    help="Where to look for runs: a root, or a folder of roots; again for more.  [default: runs]",
)
@click.option(
    "--language",
    metavar="CODE",
    help="Name the classes in this language, such as pt, of data.class_names in the recipe.  "
    "[default: about.language]",
)
def report(
    name: str, output: Path | None, is_opened: bool, roots: tuple[str, ...], language: str | None
) -> int:
    """Write the page of a run: verdict, metrics, images, curves, mistakes, lineage.

    RUN is the ID of a run or its beginning, the path of a run, the path of a root for its latest run,
    `latest`, or `pushed` for the last run that pushed a model. Every local run writes the page at its end;
    this command writes it again, after an upgrade for example. The page is one file that needs no network.
    """
    if output is not None:
        check_can_write(output, "-o")
    from pipeline.history.runs import choose_run
    from pipeline.report.make import FILE, write_report

    run = choose_run(name, roots)
    path = output or run.folder / FILE
    with working("writing the page"):
        write_report(run, path, language)
    click.echo(os.path.relpath(path))
    if is_opened:
        click.launch(path.absolute().as_uri())
    return 0
