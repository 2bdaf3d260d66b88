"""`mirante compile`: a recipe becomes a package for Kubeflow Pipelines or a job for Vertex AI."""

import os
from pathlib import Path

import click

from components.base.words import format_row
from pipeline.commands.checkout import import_kubeflow
from pipeline.commands.shared import complete_recipes, example, working
from pipeline.run.output import check_can_write


@click.command(
    epilog=example("mirante compile digits --image registry.example.org/mirante:0.1.0 -o digits.yaml")
)
@click.argument("recipe", shell_complete=complete_recipes)
@click.option("--image", metavar="REF", help="Image with Mirante in it (`make image`).")
@click.option(
    "--target",
    type=click.Choice(["kubeflow", "vertex"]),
    default="kubeflow",
    show_default=True,
    help="Kubeflow Pipelines on a cluster, or Vertex AI.",
)
@click.option(
    "--data",
    "data_path",
    metavar="DIR",
    help="Default of the parameter data_root; for vertex the local folder that `mirante ingest` wrote.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY.SUB=VALUE", help="Override a recipe's key.")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A .yaml file, for vertex a .json file.",
)
def compile(  # noqa: A001 - the command's name
    recipe: str,
    image: str | None,
    target: str,
    data_path: str | None,
    overrides: tuple[str, ...],
    output: Path,
) -> None:
    """Compile a recipe for Kubeflow Pipelines or Vertex AI.

    For Kubeflow it becomes a package with one task per node, after one that ingests. The recipe's values are
    the defaults of the run's parameters; paths are as the tasks see them. For Vertex AI it becomes a job, and
    the recipe's part `vertex` says where it runs; first ingest the data here and copy them to a bucket.
    Needs no cluster and no credentials.
    """
    from components.models.anchors import find_misfit
    from pipeline.recipe.load import load_recipe

    loaded = load_recipe(recipe, overrides, data_path, elsewhere=True, data_here=target == "vertex")
    check_can_write(output, "-o")
    size = loaded.transform
    if misfit := find_misfit(loaded.model.detection, size.height_px, size.width_px):
        click.echo(format_row("warning:", misfit, width=9, indent=0), err=True)
    if target == "vertex":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with working(f"compiling {recipe}"):
            import_kubeflow("vertex").compile_recipe(loaded, image, output)
        click.echo(f"{output}: {recipe} for Vertex AI; docs/vertex.md says how to run it")
        return
    with working(f"compiling {recipe}"):
        import_kubeflow("compile").compile_recipe(loaded, image, output)
    click.echo(f"{output}: {recipe} for Kubeflow Pipelines; docs/kubeflow.md says how to run it")
