"""What several commands share: kinds of options, examples in the help, exit codes. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.base.errors import MiranteError
from components.base.paths import is_remote

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_RECIPES = Path(__file__).parents[1] / "recipes"
INTERRUPTED = 130
INTERRUPTED_SAID = "interrupted; the same command continues from here"


class PathType(click.Path):
    """A path; an empty text, such as a variable that is not set, would be the folder of the shell."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(path_type=Path, **kwargs)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if value == "":
            self.fail("expected a path, got an empty text", param, ctx)
        return super().convert(value, param, ctx)


class PathOrBucketType(PathType):
    """A path, or the address of a folder in a bucket, which stays a text."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, or the address."""
        return value if isinstance(value, str) and is_remote(value) else super().convert(value, param, ctx)


def complete_recipes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return what a shell offers for a recipe: the built-in ones, and files."""
    from click.shell_completion import CompletionItem  # takes milliseconds

    names = sorted(path.stem for path in _RECIPES.glob("*.yaml"))
    return [
        *(CompletionItem(name) for name in names if name.startswith(incomplete)),
        CompletionItem(incomplete, type="file"),
    ]


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal that something is under way; nothing elsewhere, where nothing is loaded either."""
    if not sys.stderr.isatty():
        yield
        return
    from pipeline.run.console import make_console, show_working  # takes a tenth of a second

    with show_working(make_console(to_stderr=True), what):
        yield


def exit_code(error: BaseException) -> int:
    """Return the exit code of a command that ends with an error."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return error.exit_code if isinstance(error, MiranteError) else 1


def example(text: str) -> str:
    """Return the end of a command's help: how it is called."""
    return "\b\nExample:\n  " + text
