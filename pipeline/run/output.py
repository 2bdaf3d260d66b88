"""Standard output and error of a command: closed, full, or a pipe that nobody reads. Nothing heavy."""

import contextlib
import errno
import os
import shutil
import sys
from pathlib import Path

import click

from components.base.errors import UsageError
from components.base.printable import printable_lines
from components.base.redact import redact
from components.base.words import quote

# Of this command: the streams that the caller has closed, and why output was lost, once that is said.
_was_closed: list[str] = []
_said: list[str] = []
# What a console (`pipeline.run.console`) could not be written for.
_lost: list[OSError] = []


def hold_standard_streams() -> None:
    """Open what the caller has closed (`>&-`), so that no file of ours gets the number of standard output."""
    _was_closed.clear()
    _said.clear()
    _lost.clear()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number, which is this one
            if name != "stdin":
                _was_closed.append(name)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if name == "stdin" else "w", closefd=False))  # noqa: SIM115


def note_lost(error: OSError) -> None:
    """Have the command end with 1, for something that was to be shown could not be."""
    _lost.append(error)


def say_error(message: str) -> None:
    """Write how a command ended to standard error, without secrets; nothing where that cannot be written."""
    say(f"mirante: {redact(message)}")


def say(text: str) -> None:
    """Write a text to standard error, control characters escaped; nothing where it cannot be written."""
    with contextlib.suppress(OSError):
        click.echo(printable_lines(text), err=True)


def quote_own(*words: str) -> str:
    """Return a command of this program to paste: with its name if it is on PATH, else with its path."""
    return quote("mirante" if shutil.which("mirante") else os.path.relpath(sys.argv[0]), *words)


def check_can_write(file: Path, option: str) -> None:
    """Refuse a file that cannot be written, before any work is done for it; makes nothing.

    Raises:
        UsageError: It is a folder, or its folder is not there or cannot be written to.
    """
    folder = next(parent for parent in Path(os.path.abspath(file)).parents if os.path.lexists(parent))
    shown = os.path.relpath(folder)
    if file.is_dir():
        raise UsageError(f"{option} {file}: cannot be written: it is a folder; give the name of a file")
    if not folder.is_dir():
        raise UsageError(f"{option} {file}: cannot be written: {shown} is no folder; give another file")
    if not os.access(folder, os.W_OK | os.X_OK):
        is_read_only = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
        why = "is on a read-only file system" if is_read_only else "is not yours to write to"
        raise UsageError(f"{option} {file}: cannot be written: {shown} {why}; give another file")


def is_of_output(error: OSError) -> bool:
    """Return whether standard output or error failed; say so once, unless its reader has gone."""
    if error.filename is not None or error.errno not in (
        errno.EPIPE,
        errno.ENOSPC,
        errno.EIO,
        errno.EBADF,
        errno.EFBIG,
    ):
        return False
    if error.errno != errno.EPIPE:
        _say_lost(error.strerror or os.strerror(error.errno or 0))
    return True


def end_output(code: int) -> int:
    """Write what standard output and error still hold; return the exit code, 1 where something was lost."""
    lost = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as e:
            lost = e
            # Python would try again when it ends, and complain.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    lost = lost or next(iter(_lost), None)
    if lost is not None and lost.errno != errno.EPIPE:
        _say_lost(lost.strerror or str(lost))
    elif "stdout" in _was_closed:
        _say_lost("it is closed")
        lost = OSError(errno.EBADF, "closed")
    return 1 if lost is not None and code == 0 else code


def _say_lost(why: str) -> None:
    if not _said:
        _said.append(why)
        say_error(
            f"standard output cannot be written: {why}; what was done is kept, what it would say is lost"
        )
