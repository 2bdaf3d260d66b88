"""`mirante compile` and `mirante submit` as commands. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import click

from components.base.errors import MiranteError, UsageError
from components.base.redact import redact, redact_values
from pipeline.commands.checkout import import_kubeflow
from pipeline.run.output import check_can_write, say_error

_TOKEN_VARIABLE = "MIRANTE_KFP_TOKEN"
_INTERRUPTED = 130


@click.command(
    epilog="\b\nExample:\n  mirante compile digits --image registry.example.org/mirante:0.1.0 -o digits.yaml"
)
@click.argument("recipe")
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
    help="Default of the parameter data_root; for vertex what `mirante ingest` made, here.",
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
    """Compile a recipe to a package for Kubeflow Pipelines, or to a job for Vertex AI.

    For Kubeflow: one task a node, after one that ingests. What the recipe says is the default of the run's
    parameters; paths are those that the tasks see. For Vertex AI the recipe's part `vertex` says where; data
    are ingested here and copied to a bucket before. Needs no cluster and no credentials.
    """
    from pipeline.recipe.load import load_recipe

    loaded = load_recipe(recipe, overrides, data_path, elsewhere=True, data_here=target == "vertex")
    check_can_write(output, "-o")
    if target == "vertex":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import_kubeflow("vertex").compile_recipe(loaded, image, output)
        click.echo(f"{output}: {recipe} for Vertex AI; docs/vertex.md says how to run it")
        return
    import_kubeflow("compile").compile_recipe(loaded, image, output)
    click.echo(f"{output}: {recipe} for Kubeflow Pipelines; docs/kubeflow.md says how to run it")


@click.command(
    epilog="\b\nExample:\n  mirante submit pipeline.yaml --host http://localhost:8080 --param epochs=3"
)
@click.argument("package", metavar="PIPELINE.YAML", type=click.Path(path_type=Path))
@click.option("--host", required=True, metavar="URL", help="The server, as a browser shows its UI.")
@click.option("--namespace", metavar="NS", help="Your namespace, on a server for several users.")
@click.option(
    "--token",
    metavar="TOKEN|@FILE",
    envvar=_TOKEN_VARIABLE,
    help=f"Bearer token, or a file with it; also by {_TOKEN_VARIABLE}, which other users cannot see.",
)
@click.option("--ca-cert", metavar="FILE", type=click.Path(path_type=Path), help="Certificates to trust.")
@click.option("--name", metavar="PIPELINE", help="Pipeline on the server.  [default: as the package says]")
@click.option("--version", "version", metavar="V", help="Its version.  [default: from the package's bytes]")
@click.option("--experiment", metavar="E", help="Made where there is none.  [default: the pipeline's name]")
@click.option("--run-name", metavar="R", help="Of the run.  [default: the pipeline's name and the time]")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of the pipeline.")
@click.option("--service-account", metavar="SA", help="That the tasks run as.")
@click.option(
    "--follow/--no-follow", default=None, help="Wait for the end, task by task.  [default: --follow]"
)
@click.option("--cron", metavar="'0 3 * * *'", help="Not now, but on this schedule, one run at a time.")
@click.option("--replace", is_flag=True, help="With --cron: in place of the recurring run of that name.")
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the result as JSON.")
def submit(token: str | None, follow: bool | None, as_json: bool, **options: Any) -> int:
    """Run a compiled pipeline on Kubeflow Pipelines.

    PIPELINE.YAML is what `mirante compile` writes. It is uploaded, as a new version where the server has the
    pipeline and not at all where it has these bytes, run, and followed. Exit code 0 when the run succeeded, 1
    when it failed; Ctrl-C leaves it going.
    """
    kubeflow_submit = import_kubeflow("submit")
    if follow and options["cron"] is not None:
        raise UsageError("--follow: there is nothing to follow with --cron, which starts runs later")
    if options["replace"] and options["cron"] is None:
        raise UsageError("--replace: it is for a recurring run: give --cron too")
    ca_cert = options["ca_cert"]
    if ca_cert is not None and not ca_cert.is_file():
        raise UsageError(f"--ca-cert {ca_cert}: no such file")
    wanted = kubeflow_submit.Submission(**options, token=_read_token(token), follow=follow is not False)
    submitted = kubeflow_submit.Submitted()

    def say(text: str) -> None:
        click.echo(redact(text), err=as_json)

    code = 0
    try:
        kubeflow_submit.submit(wanted, submitted, say)
    except UsageError:
        raise
    except KeyboardInterrupt:
        going = f"; the run goes on: {submitted.url}" if submitted.url else ""
        code, submitted.error = _INTERRUPTED, f"interrupted{going}"
    except MiranteError as e:
        code, submitted.error = e.exit_code, str(e)
    if submitted.error:
        say_error(submitted.error)
    if as_json:
        click.echo(json.dumps(redact_values(dataclasses.asdict(submitted))))
    return code


def _read_token(token: str | None) -> str | None:
    if token is None:
        return None
    if token.startswith("@"):
        try:
            token = Path(token[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            reason = e.strerror if isinstance(e, OSError) else "it is no text"
            raise UsageError(f"--token {token}: the file cannot be read: {reason}") from e
    token = token.strip()
    if not token or any(character.isspace() or not character.isprintable() for character in token):
        # Not what it is: it may be most of a token.
        raise UsageError("--token: expected one word; what was given is empty or has spaces or lines in it")
    return token
