"""`mirante run`: run a recipe on this machine."""

import dataclasses
import json
import os
from pathlib import Path

import click

from components.base.errors import MiranteError, UsageError
from components.base.paths import is_remote
from components.base.printable import printable_lines
from components.base.redact import redact_values
from components.base.words import quote
from pipeline.commands.shared import PathType, complete_recipes, example, exit_code
from pipeline.run.output import quote_own


@click.command(epilog=example("mirante run mnist --data mnist/ --set training.epochs=3"))
@click.argument("recipe", shell_complete=complete_recipes)
@click.option(
    "--data",
    "data_path",
    metavar="DIR",
    help="Raw input, or a folder of contract TFRecords; also s3:// and gs://.",
)
@click.option("--root", type=PathType(), help="Pipeline root.  [default: runs/<recipe>]")
@click.option("--set", "overrides", multiple=True, metavar="KEY.SUB=VALUE", help="Override a recipe's key.")
@click.option(
    "--gpu", "num_gpus", type=click.IntRange(1, 1024), metavar="N", help="Same as --set training.num_gpus=N."
)
@click.option("--no-gpu", is_flag=True, help="Leave the machine's GPUs alone.")
@click.option("--no-cache", is_flag=True, help="Execute every node. Same as --set use_cache=false.")
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the result as JSON.")
def run(
    recipe: str,
    data_path: str | None,
    root: Path | None,
    overrides: tuple[str, ...],
    num_gpus: int | None,
    no_gpu: bool,
    no_cache: bool,
    as_json: bool,
) -> int:
    """Run a recipe: ingest, validate, train, evaluate, push.

    RECIPE is a built-in name (`mirante recipes`) or a YAML file. Nodes whose inputs did not change keep their
    results; a run that was killed continues where it was.
    """
    from pipeline.api import load_run

    if no_gpu:
        if num_gpus:
            raise UsageError(f"--no-gpu: expected no --gpu next to it, got --gpu {num_gpus}; leave one out")
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    if no_cache:
        overrides = (*overrides, "use_cache=false")
    if num_gpus:
        overrides = (*overrides, f"training.num_gpus={num_gpus}")
    loaded, root = load_run(recipe, overrides, data_path, root)

    from pipeline.run.console import make_console
    from pipeline.targets import local as runner

    console = make_console(to_stderr=as_json)
    code = 0
    result, error = runner.run(loaded, root, console)
    if result.report:
        shown = quote(os.path.relpath(result.report))
        console.print(f"\nSee the run:    {shown}", soft_wrap=True, markup=False)
    if error is None:
        serving = os.path.dirname(result.pushed_model or "")
        serving = serving if is_remote(serving) else os.path.relpath(serving)
        image = quote(os.path.relpath(result.sample_image)) if result.sample_image else "IMAGE..."
        console.print(
            f"Ask the model:  {quote_own('predict', serving)} {image}", soft_wrap=True, markup=False
        )
    else:
        code = exit_code(error)
        console.print(f"\nmirante: {printable_lines(str(result.error))}", soft_wrap=True, markup=False)
        if code == 1 and not isinstance(error, MiranteError) and result.log:
            console.print(f"The whole story is in {result.log}", soft_wrap=True, markup=False)
    if as_json and code != UsageError.exit_code:
        click.echo(json.dumps(redact_values(dataclasses.asdict(result)), allow_nan=False))
    return code
