"""`mirante runs`: list what was run."""

import json

import click

from components.base.redact import redact_values
from components.base.words import format_count
from pipeline.commands.shared import example


@click.command(epilog=example("mirante runs runs/digits"))
@click.argument("folders", nargs=-1, metavar="[ROOT]...")
@click.option(
    "--last",
    type=click.IntRange(min=1),
    metavar="N",
    default=20,
    show_default=True,
    help="The newest N runs.",
)
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the runs as JSON.")
def runs(folders: tuple[str, ...], last: int, as_json: bool) -> int:
    """List runs, the newest last.

    ROOT is the root of a recipe's runs, or a folder with such roots in it; runs/ by default. For each run you
    see how it ended, its data, its main metric, and its root or the model that it pushed.
    """
    from pipeline.history.runs import list_runs
    from pipeline.history.text import format_runs

    found = list_runs(folders)
    if as_json:
        listed = [
            {**run.result, "run_id": run.run_id, "root": str(run.root), "status": run.status}
            for run in found[-last:]
        ]
        click.echo(json.dumps(redact_values(listed)))
        return 0
    click.echo(format_runs(found[-last:]))
    if len(found) > last:
        click.echo(f"and {format_count(len(found) - last, 'older one')}: --last {len(found)} lists all")
    return 0
