"""`mirante submit`: run a package on Kubeflow Pipelines."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from components.base.errors import MiranteError, UsageError
from components.base.redact import redact, redact_values
from pipeline.commands.checkout import import_kubeflow
from pipeline.commands.shared import INTERRUPTED, example
from pipeline.run.output import say_error

_TOKEN_VARIABLE = "MIRANTE_KFP_TOKEN"


@click.command(epilog=example("mirante submit pipeline.yaml --host http://localhost:8080 --param epochs=3"))
@click.argument("package", metavar="PIPELINE.YAML", type=click.Path(path_type=Path))
@click.option("--host", required=True, metavar="URL", help="Address of the server's UI, as in a browser.")
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
@click.option("--service-account", metavar="SA", help="Kubernetes service account of the tasks.")
@click.option(
    "--follow/--no-follow", default=None, help="Wait for the end, task by task.  [default: --follow]"
)
@click.option(
    "--cron", metavar="'0 3 * * *'", help="Run on this schedule instead of now; runs never overlap."
)
@click.option("--replace", is_flag=True, help="With --cron: replace the recurring run of that name.")
@click.option("--json", "as_json", is_flag=True, help="Last line on standard output: the result as JSON.")
def submit(token: str | None, follow: bool | None, as_json: bool, **options: Any) -> int:
    """Run a compiled pipeline on Kubeflow Pipelines.

    PIPELINE.YAML is what `mirante compile` writes. It is uploaded (as a new version if the server has the
    pipeline already, not at all if the server has these very bytes), run and followed. The exit code is 0 if
    the run succeeded and 1 if it failed. Ctrl-C stops following; the run continues.
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
        going = f"; the run continues: {submitted.url}" if submitted.url else ""
        code, submitted.error = INTERRUPTED, f"interrupted{going}"
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
