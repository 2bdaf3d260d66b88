"""The `mirante` command: a group of the commands in `COMMANDS`. Imports nothing heavy."""

import importlib
import io
import os
import sys
from typing import Any, NoReturn

import click

from components.base.errors import MiranteError
from components.base.interrupts import interruptible
from components.base.redact import redact
from pipeline.commands.shared import INTERRUPTED, INTERRUPTED_SAID
from pipeline.run.output import (
    end_output,
    hold_standard_streams,
    is_of_output,
    say,
    say_error,
)

# The command `x-y` is the click command `x_y` in `pipeline/commands/x_y.py`, imported when it is called.
COMMANDS = (
    "boxes", "clean", "compare", "compile", "doctor", "export", "ingest", "inspect", "lr-find", "predict",
    "recipes", "report", "rollback", "run", "runs", "serve", "submit", "worker",
)  # fmt: skip


class _Commands(click.Group):
    """The commands, each imported when it is asked for; ends with the exit codes that scripts depend on."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is no command of that name."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"pipeline.commands.{name}"), name)
        return command

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:  # type: ignore[override]
        hold_standard_streams()
        try:
            kwargs["standalone_mode"] = False
            with interruptible():
                code = super().main(*args, **kwargs)
        except click.exceptions.Abort:
            say_error(INTERRUPTED_SAID)
            code = INTERRUPTED
        except click.ClickException as e:
            shown = io.StringIO()
            e.show(shown)
            say(redact(shown.getvalue()).rstrip())
            code = 2
        except MiranteError as e:
            say_error(str(e))
            code = e.exit_code
        except OSError as e:
            code = 1
            if not is_of_output(e):
                from components.base.os_errors import describe_os_error

                say_error(describe_os_error(e))
        sys.exit(end_output(code if isinstance(code, int) else 0))


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="mirante", prog_name="mirante")
def main() -> None:
    """From a folder of images to a validated, served model.

    Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 data refused, 4 model not blessed and
    nothing pushed, 130 interrupted.
    """
    # By itself TensorFlow takes these kernels on few CPUs only (docs/decisions/007-fast-on-cpus.md).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
