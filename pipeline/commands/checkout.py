"""What is in the checkout alone and never installed: the package `kubeflow`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from components.base.errors import UsageError
from components.base.extras import install_command

# What brings these is the extra `kubeflow`.
_LIBRARIES = ("kfp", "kfp_server_api", "kubernetes")


def import_kubeflow(module: str) -> ModuleType:
    """Import `kubeflow.<module>` from the checkout that this module is in.

    Installed, the package would overwrite the Kubeflow SDK's, which has the same name.

    Raises:
        UsageError: There is no checkout around this module, the Kubeflow SDK's package was imported before,
            or what the module needs is not installed.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "pyproject.toml").is_file() or not (root / "kubeflow" / f"{module}.py").is_file():
        raise UsageError(
            "this command needs Mirante's checkout, for its folder kubeflow/ that is never installed: found "
            f"no {root / 'kubeflow' / module}.py. Clone the repository, `make setup`, and call "
            ".venv/bin/mirante there"
        )
    entry = str(root)
    if sys.path[:1] != [entry]:
        sys.path[:] = [entry, *(other for other in sys.path if other != entry)]
    try:
        package = importlib.import_module("kubeflow")
        found = [str(Path(path).resolve()) for path in package.__path__]
        if found != [str(root / "kubeflow")]:
            raise UsageError(
                f"this command needs the package kubeflow of the checkout at {root}, but this process has "
                f"already imported another of that name, from {', '.join(found)}: call the command by itself"
            )
        return importlib.import_module(f"kubeflow.{module}")
    except ModuleNotFoundError as e:
        name = (e.name or "").partition(".")[0]
        if name not in _LIBRARIES and not name.startswith("kfp"):
            raise
        raise UsageError(
            f"this command needs the package {name}, which is not installed here: "
            f"{install_command('kubeflow')} (on Python 3.11 or newer: on 3.10 TFX and kfp want different "
            "protobufs)"
        ) from e
