"""`mirante recipes`: list the built-in recipes."""

import click

from pipeline.commands.shared import example


@click.command(epilog=example("mirante recipes"))
def recipes() -> None:
    """List the built-in recipes."""
    from components.base.words import format_row
    from pipeline.recipe.load import RECIPES, recipe_names

    names = recipe_names()
    width = max(map(len, names)) + 2
    for name in names:
        first = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
        click.echo(format_row(name, first.removeprefix("#").strip(), width, indent=0))
