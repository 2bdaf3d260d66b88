"""What the optional parts of Mirante (`[project.optional-dependencies]`) are, as a command to type."""

from __future__ import annotations

import re
import shlex


def install_command(extra: str) -> str:
    """Return the command that installs what an extra brings.

    It names the packages and not `mirante[EXTRA]`: Mirante itself is in no package index.
    """
    import importlib.metadata  # takes a fifth of the time of `mirante --help`

    found = []
    for requirement in importlib.metadata.requires("mirante") or ():
        what, _, marker = requirement.partition(";")
        if re.search(rf"extra == ['\"]{extra}['\"]", marker):
            found.append(re.sub(r"\s", "", what))
    return shlex.join(["pip", "install", *found])
