"""The command that installs an optional part of Mirante (`[project.optional-dependencies]`)."""

import re

from components.base.words import quote


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra.

    It names the packages instead of `mirante[EXTRA]`, since no package index has Mirante.
    """
    import importlib.metadata  # takes a fifth of the time of `mirante --help`

    found = []
    try:
        requirements = importlib.metadata.requires("mirante") or ()
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return f"pip install '.[{extra}]' in the checkout"
    for requirement in requirements:
        what, _, marker = requirement.partition(";")
        if re.search(rf"extra == ['\"]{extra}['\"]", marker):
            found.append(re.sub(r"\s", "", what))
    return quote("pip", "install", *found)
