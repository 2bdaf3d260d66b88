"""Errors that end a command with their own exit code; any other exception ends it with 1.

Every message says what was expected, what it got, where, and what to do next.
"""

from collections.abc import Iterator


class MiranteError(Exception):
    """A failure whose cause and remedy are known: exit code 1, message without a traceback."""

    exit_code = 1


class UsageError(MiranteError):
    """Wrong usage or wrong configuration."""

    exit_code = 2


class DataRefusedError(MiranteError):
    """The data were read and refused: anomalies, too many rejected files, no train split."""

    exit_code = 3


class NotBlessedError(MiranteError):
    """The model missed a threshold or failed its infrastructure check; nothing was pushed."""

    exit_code = 4


def walk_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, the error that it was raised from, and so on."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:  # an error can be its own cause
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
