"""The console that users see, and the log for everything else that libraries print."""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from components.base.redact import redact, redact_file
from components.base.words import format_row, wrap_text
from pipeline.run.output import note_lost


def make_console(
    to_stderr: bool, worded: Callable[[str], str] = str, *, whole_lines: bool = False
) -> Console:
    """Return a console on a duplicate of standard output (or error), which `quiet_libraries` leaves alone.

    Secrets are taken out of what it shows. Where it cannot be written to, the command continues without it,
    and the command ends with 1 (`pipeline.run.output.note_lost`).

    Args:
        to_stderr: Standard error, then.
        worded: Has the last word on each text that is written.
        whole_lines: Whether nothing is broken into lines of 80 columns, as in a pod's log.
    """
    stream = sys.stderr if to_stderr else sys.stdout
    stream.flush()
    try:
        file: IO[str] = os.fdopen(
            os.dup(stream.fileno()), "w", encoding="utf-8", errors="backslashreplace", buffering=1
        )
    except io.UnsupportedOperation:  # no file below it, as in a notebook
        file = stream
    shown: Any = Redacted(file, worded)
    # Not a terminal: no wrapping, not in tables either, so that paths stay whole in a log.
    is_log = not file.isatty()
    kind = _LogConsole if whole_lines else Console
    return kind(file=shown, highlight=False, soft_wrap=is_log, width=_LOG_COLUMNS if is_log else None)


_LOG_COLUMNS = 10_000


def print_row(console: Console, title: str, text: str) -> None:
    """Print a title and the text next to it, in lines of 80 columns; a line with a path may be longer."""
    shown = f"  {title:11} {text}" if _has_whole_lines(console) else format_row(title, text)
    console.print(shown, soft_wrap=True, markup=False)


def print_note(console: Console, text: str) -> None:
    """Print a text below a node's line, in lines of 80 columns."""
    shown = f"    {text}" if _has_whole_lines(console) else wrap_text(text, 4 * " ", 6 * " ")
    console.print(shown, soft_wrap=True, markup=False)


class _LogConsole(Console):
    """A console whose lines are whole."""


def _has_whole_lines(console: Console) -> bool:
    return isinstance(console, _LogConsole)


class Redacted:
    """A stream for text, without its secrets and worded anew; it never fails.

    Args:
        file: Where it goes.
        worded: Has the last word on each text.
    """

    def __init__(self, file: IO[str], worded: Callable[[str], str] = str):
        self._file = file
        self._worded = worded

    def write(self, text: str) -> int:
        """Write a text, or nothing where that is not possible."""
        try:
            self._file.write(self._worded(redact(text)))
        except OSError as e:
            note_lost(e)
        return len(text)

    def flush(self) -> None:
        """Write what is held, or nothing where that is not possible."""
        try:
            self._file.flush()
        except OSError as e:
            note_lost(e)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class RedactedFormatter(logging.Formatter):
    """Formats a record without its secrets, those in a traceback too."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line, or several."""
        return redact(super().format(record))


@contextlib.contextmanager
def quiet_libraries(log_file: Path, console: Console) -> Iterator[None]:
    """Send standard output and error of this process, C++ and children included, to `log_file`.

    What is logged under `mirante` is shown on the console too. Secrets are taken out of the file at the end,
    and out of what a run of the same root that was killed left.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    _redact_left_logs(log_file.parent)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    target = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    root, own = logging.getLogger(), logging.getLogger("mirante")
    file_handler = logging.FileHandler(log_file)
    file_handler.setFormatter(RedactedFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    console_handler = ConsoleHandler(console)
    levels = root.level, own.level
    root.addHandler(file_handler)
    root.setLevel(logging.INFO)
    own.addHandler(console_handler)
    own.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(file_handler)
        own.removeHandler(console_handler)
        root.setLevel(levels[0])
        own.setLevel(levels[1])
        with contextlib.suppress(OSError):  # the disk of the log may be full
            file_handler.close()
        for stream, number, descriptor in zip((sys.stdout, sys.stderr), (1, 2), saved, strict=True):
            _flush(stream, number)
            os.dup2(descriptor, number)
            os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):  # somebody has removed it
            redact_file(log_file)
        with contextlib.suppress(OSError):  # the disk may be full
            (log_file.parent / _REDACTED).touch()


# When the logs of a folder were last without secrets.
_REDACTED = ".redacted"


def _redact_left_logs(folder: Path) -> None:
    """Take the secrets out of the logs of runs that came to no end: those that are newer than the last end.

    A root may be the user's own folder, with other logs: only what has a folder below `runs/` is a run's.
    """
    mark = folder / _REDACTED
    done = mark.stat().st_mtime_ns if mark.exists() else 0
    for log in folder.glob("*.log"):
        is_of_run = not log.is_symlink() and (folder.parent / "runs" / log.stem / "recipe.yaml").is_file()
        if is_of_run and log.stat().st_mtime_ns >= done:
            redact_file(log)


def _flush(stream: IO[str], descriptor: int) -> None:
    """Write what the stream holds; what the disk has no room for is dropped, not to come out elsewhere."""
    try:
        stream.flush()
    except OSError:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), descriptor)
            stream.flush()


class ConsoleHandler(logging.Handler):
    """Shows what is logged, indented, on a console."""

    def __init__(self, console: Console):
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        # Before a line break breaks a secret in two.
        print_note(self._console, redact(record.getMessage()))


@contextlib.contextmanager
def progress_bar(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Give a callback `(phase, done, total)` that draws a bar on a terminal, and is silent elsewhere."""
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, Any] = {}
    # Standard output may be a file, for answers.
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal
    ) as progress:

        def update(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = progress.add_task(phase, total=total)
            progress.update(tasks[phase], completed=done, total=total)

        yield update


class _TimeLeftColumn(ProgressColumn):
    """The seconds that are left of those that a task took before."""

    def render(self, task: Task) -> Text:
        """Return them; nothing for a task that never was."""
        usual_secs, elapsed = task.fields["usual_secs"], task.elapsed or 0.0
        if usual_secs is None:
            return Text()
        left = usual_secs - elapsed
        return Text(f"about {left:.0f} s left" if left > 0 else f"took {usual_secs:.0f} s before")


@contextlib.contextmanager
def show_working(console: Console, what: str, usual_secs: float | None = None) -> Iterator[None]:
    """Show on a terminal that something is under way, for how long, and how long it may still take.

    Args:
        console: Where; nothing is shown unless it is a terminal.
        what: What is under way.
        usual_secs: How long it took before; None if that is not known.
    """
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), _TimeLeftColumn()
    # What libraries print still goes to where `quiet_libraries` sends it.
    with Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not console.is_terminal,
    ) as progress:
        progress.add_task(what, total=None, usual_secs=usual_secs)
        yield
