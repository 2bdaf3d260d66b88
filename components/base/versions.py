"""Versions of Python, of packages and of the checkout, by which a result is known. Imports nothing heavy."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path

# The packages by which a result is known.
_PACKAGES = ("mirante", "tfx", "tensorflow", "keras", "apache-beam", "numpy", "pillow")
_GIT_SECS = 5


def find_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on most."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def find_commit() -> str:
    """Return the commit of the checkout that this code is in; empty if it is in none."""
    repository = Path(__file__).resolve().parents[2]
    if not (repository / ".git").exists():
        return ""
    command = ["git", "-C", str(repository), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
