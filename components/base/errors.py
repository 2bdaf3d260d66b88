"""Errors that end a command with an exit code of their own. Anything else that is raised ends it with 1.

Every message says what was expected, what arrived, where, and what to do next.
"""

from __future__ import annotations

from collections.abc import Iterator


class MiranteError(Exception):
    """A failure whose cause and remedy are known: exit code 1, message without a traceback."""

    exit_code = 1


class UsageError(MiranteError):
    """Wrong usage or wrong configuration."""

    exit_code = 2


class DataRefusedError(MiranteError):
    """The data was looked at and refused: anomalies, too many rejected files, no train split."""

    exit_code = 3


class NotBlessedError(MiranteError):
    """The model missed a threshold or failed its infrastructure check; nothing was pushed."""

    exit_code = 4


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, what that was raised from, and so on."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:  # an error may be its own cause
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
