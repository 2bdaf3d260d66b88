"""`mirante doctor`: what this machine has, and what is missing."""

import dataclasses
import json
import textwrap
from pathlib import Path

import click

from pipeline.commands.shared import PathType, complete_recipes, example, working

_WIDTH = 80
_MARKS = {"ok": "ok", "optional": "-", "warning": "!", "problem": "MISSING"}


@click.command(epilog=example("mirante doctor cats_vs_dogs"))
@click.argument("recipe", required=False, shell_complete=complete_recipes)
@click.option(
    "--root",
    type=PathType(),
    default=Path("runs"),
    show_default=True,
    metavar="ROOT",
    help="Where runs will be: the disk that is looked at.",
)
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the findings as JSON.")
def doctor(recipe: str | None, root: Path, as_json: bool) -> int:
    """Show what this machine has, and what is missing.

    Looks at Python, packages, cores, memory, disk, GPUs and optional parts. With RECIPE, also at the files
    and packages that this recipe needs. The exit code is 1 if something is missing.
    """
    from pipeline.run.machine import PROBLEM, look_at_machine, look_at_recipe

    with working("looking at this machine"):
        findings = [*look_at_machine(root), *([look_at_recipe(recipe)] if recipe else [])]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings]))
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            head = f"{finding.what:{width}}  {_MARKS[finding.state]:7}  "
            click.echo(
                textwrap.fill(
                    finding.text,
                    _WIDTH,
                    initial_indent=head,
                    subsequent_indent=" " * len(head),
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )
    return 1 if any(finding.state == PROBLEM for finding in findings) else 0
