"""What the command `mirante` starts: has the packages be Mirante's own, and calls `pipeline.commands.main`.

A module by itself, since packages called `components` or `pipeline` may be in a folder that PYTHONPATH names.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

PACKAGES = ("schemas", "components", "pipeline")


def prefer_own_packages() -> None:
    """Have `schemas`, `components` and `pipeline` be Mirante's where others of these names come first.

    What the others hold besides can still be imported, such as `pipeline.blocks` from a custom network.
    """
    own = Path(__file__).resolve().parent
    others = [entry for entry in sys.path if _holds_another(Path(entry or os.curdir), own)]
    if not others:
        return
    sys.path[:] = [str(own), *(entry for entry in sys.path if entry != str(own))]
    for name in PACKAGES:
        package = importlib.import_module(name)
        package.__path__ += [
            path for entry in others if os.path.isdir(path := os.path.join(os.path.abspath(entry), name))
        ]


def _holds_another(folder: Path, own: Path) -> bool:
    try:
        return any((folder / name).is_dir() for name in PACKAGES) and folder.resolve() != own
    except OSError:
        return False


def main() -> None:
    """Run the command; ends the process with its exit code."""
    prefer_own_packages()
    from pipeline.commands.main import main as command

    command()


if __name__ == "__main__":
    main()
