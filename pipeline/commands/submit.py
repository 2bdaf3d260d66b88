"""`mirante submit`: run a package on Kubeflow Pipelines, or a job on Vertex AI."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from components.base.errors import MiranteError, UsageError
from components.base.redact import redact, redact_values
from pipeline.commands.checkout import import_kubeflow
from pipeline.commands.shared import INTERRUPTED, example
from pipeline.run.output import say_error

_TOKEN_VARIABLE = "MIRANTE_KFP_TOKEN"
# The options for each place, by the fields that they fill in.
_FOR_BOTH = ("package", "run_name", "service_account")
_FOR_VERTEX = ("project", "region", "endpoint")


@click.command(epilog=example("mirante submit pipeline.yaml --host http://localhost:8080 --param epochs=3"))
@click.argument("package", metavar="PACKAGE", type=click.Path(path_type=Path))
@click.option("--host", metavar="URL", help="Address of the server's UI, as in a browser.")
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
@click.option(
    "--experiment", metavar="E", help="Created if it does not exist.  [default: the pipeline's name]"
)
@click.option("--run-name", metavar="R", help="Name of the run.  [default: the pipeline's name and the time]")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of the pipeline.")
@click.option("--service-account", metavar="SA", help="Service account of the tasks.")
@click.option("--project", metavar="P", help="Vertex AI: the project of Google Cloud.")
@click.option("--region", metavar="R", help="Vertex AI: where the job runs.")
@click.option(
    "--endpoint", metavar="URL", help="Vertex AI: address of the API.  [default: the region's public one]"
)
@click.option(
    "--follow/--no-follow", default=None, help="Wait for the end, task by task.  [default: --follow]"
)
@click.option(
    "--cron", metavar="'0 3 * * *'", help="Run on this schedule instead of now; runs never overlap."
)
@click.option("--replace", is_flag=True, help="With --cron: replace the recurring run of that name.")
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the result as JSON.")
def submit(token: str | None, follow: bool | None, as_json: bool, **options: Any) -> int:
    """Run a compiled pipeline on Kubeflow Pipelines or Vertex AI.

    PACKAGE is what `mirante compile` writes. A .yaml file needs --host. It is uploaded (as a new version if
    the server has the pipeline already, not at all if the server has these very bytes), run and followed. A
    .json file is a job for Vertex AI, and needs --project and --region. The exit code is 0 if the run
    succeeded, 1 if it failed, and 4 if a job of Vertex AI pushed nothing. Ctrl-C stops following; the run
    continues.
    """
    is_job = options["package"].suffix == ".json"
    source = click.get_current_context().get_parameter_source("token")
    # The variable may be set for all commands of a shell.
    given_token = token if source is ParameterSource.COMMANDLINE else None
    _check_options(is_job, {**options, "token": given_token})
    module: Any
    if is_job:
        module = import_kubeflow("vertex_submit")
        given = {name: options[name] for name in (*_FOR_BOTH, *_FOR_VERTEX)}
        wanted = module.VertexSubmission(**given, follow=follow is not False)
        submitted = module.SubmittedJob()
    else:
        module = import_kubeflow("submit")
        if follow and options["cron"] is not None:
            raise UsageError("--follow: there is nothing to follow with --cron, which starts runs later")
        if options["replace"] and options["cron"] is None:
            raise UsageError("--replace: it is for a recurring run: give --cron too")
        ca_cert = options["ca_cert"]
        if ca_cert is not None and not ca_cert.is_file():
            raise UsageError(f"--ca-cert {ca_cert}: no such file")
        given = {name: value for name, value in options.items() if name not in _FOR_VERTEX}
        wanted = module.Submission(**given, token=_read_token(token), follow=follow is not False)
        submitted = module.Submitted()

    def say(text: str) -> None:
        click.echo(redact(text), err=as_json)

    code = 0
    try:
        module.submit(wanted, submitted, say)
    except UsageError:
        raise
    except KeyboardInterrupt:
        going = f"; the run continues: {submitted.url}" if submitted.url else ""
        code, submitted.error = INTERRUPTED, f"interrupted{going}"
    except MiranteError as e:
        code, submitted.error = e.exit_code, str(e)
    if submitted.error:
        say_error(submitted.error)
    if as_json:
        click.echo(json.dumps(redact_values(dataclasses.asdict(submitted))))
    return code


def _check_options(is_job: bool, options: Mapping[str, Any]) -> None:
    """Refuse options for the other place, and demand those that a place needs."""
    others = (
        [name for name in options if name not in (*_FOR_BOTH, *_FOR_VERTEX)] if is_job else list(_FOR_VERTEX)
    )
    place, other = ("Vertex AI", "Kubeflow") if is_job else ("Kubeflow", "Vertex AI")
    for name in others:
        # Click gives an empty tuple for an option that may be given more than once, and False for a flag.
        if options[name] or options[name] == "":
            flag = f"--{name.rstrip('s') if name == 'params' else name}".replace("_", "-")
            raise UsageError(
                f"{flag}: expected options for {place}, got one for {other}: a .json file is a job for "
                "Vertex AI, every other one a package for Kubeflow"
            )
    for name in ("project", "region") if is_job else ("host",):
        if not options[name]:
            raise UsageError(
                f"--{name}: expected with a {'job' if is_job else 'package'} for {place}, got none"
            )


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
