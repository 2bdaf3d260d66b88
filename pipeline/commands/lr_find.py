"""`mirante lr-find`: find a learning rate."""

from pathlib import Path

import click

from components.base.errors import UsageError
from pipeline.commands.shared import PathType, complete_recipes, example
from pipeline.run.output import check_can_write


@click.command(name="lr-find", epilog=example("mirante lr-find mnist --data mnist/ -o rates.png"))
@click.argument("recipe", shell_complete=complete_recipes)
@click.option("--data", "data_path", metavar="DIR", help="Raw input, or a folder of contract TFRecords.")
@click.option("--root", type=PathType(), help="Pipeline root.  [default: runs/<recipe>]")
@click.option("--set", "overrides", multiple=True, metavar="KEY.SUB=VALUE", help="Override a recipe's key.")
@click.option("--low", type=click.FloatRange(1e-12, 1e6), default=1e-6, show_default=True, help="First rate.")
@click.option("--high", type=click.FloatRange(1e-12, 1e6), default=1.0, show_default=True, help="Last rate.")
@click.option(
    "--steps", type=click.IntRange(10, 10_000), default=200, show_default=True, help="Steps in all."
)
@click.option("-o", "--output", type=PathType(), help="PNG to write.  [default: <root>/rates.png]")
def lr_find(
    recipe: str,
    data_path: str | None,
    root: Path | None,
    overrides: tuple[str, ...],
    low: float,
    high: float,
    steps: int,
    output: Path | None,
) -> int:
    """Try learning rates on a recipe's data, and suggest one.

    RECIPE is as for `mirante run`. It runs the nodes up to Transform, which a run afterwards need not repeat,
    and trains a network of its own for a few steps with rates that rise from --low to --high. It writes a
    plot of the loss, and suggests a tenth of the rate with the least loss for `training.learning_rate`.
    """
    if low >= high:
        raise UsageError(f"--low: expected less than --high ({high:g}), got {low:g}; swap them")
    if output is not None:
        check_can_write(output, "-o")
    from pipeline.api import load_run

    loaded, root = load_run(recipe, overrides, data_path, root)

    from pipeline.run.console import make_console
    from pipeline.targets.rates import find_rates

    sweep = find_rates(loaded, root, make_console(to_stderr=False), low, high, steps)

    from components.trainer.rate_finder import draw_sweep

    path = output or root / "rates.png"
    draw_sweep(sweep, str(path))
    click.echo(f"Plot:       {path}")
    click.echo(f"Suggested:  --set training.learning_rate={sweep.suggested:.2g}")
    return 0
