"""Errors of workers, which Beam's engines report as the text of a traceback. Imports no Beam."""

import re

from components.base import errors

_LAST_LINE = re.compile(
    rf"^{re.escape(errors.__name__)}\.(\w+): (.+?)(?: \[while running |\Z|\n(?=\S))",
    re.MULTILINE | re.DOTALL,
)


def find_worker_error(error: BaseException) -> errors.MiranteError | None:
    """Return the error of Mirante's that a worker raised, from the text of Beam's; None if there is none."""
    for cause in errors.walk_causes(error):
        for name, message in _LAST_LINE.findall(str(cause)):
            kind = getattr(errors, name, None)
            if isinstance(kind, type) and issubclass(kind, errors.MiranteError):
                return kind(message.strip())
    return None
