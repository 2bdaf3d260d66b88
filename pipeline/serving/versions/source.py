"""Versions of models on disk or in a bucket: the folders whose names are decimal numbers."""

import os
import re

from components.base import files
from components.base.errors import MiranteError
from components.base.paths import is_remote
from components.base.saved_model import MODEL_FILE, is_saved_model

_NUMBER = re.compile("[0-9]+")
_MOST = 2**63 - 1


def find_versions(base_path: str) -> dict[int, str]:
    """Return the folders below a base path by their numbers; leading zeros are fine.

    A base path that is a SavedModel itself has one version: its own number, or 1 if its name is not a number.

    Raises:
        OSError: The base path is not there or cannot be read.
    """
    names = _list_bucket(base_path) if is_remote(base_path) else os.listdir(base_path)
    if MODEL_FILE in names:
        name = os.path.basename(base_path.rstrip("/"))
        return {int(name) if _NUMBER.fullmatch(name) else 1: base_path}
    found: dict[int, str] = {}
    for name in sorted(names):
        if _NUMBER.fullmatch(name) and (number := int(name)) <= _MOST:
            found.setdefault(number, os.path.join(base_path, name))
    return found


def _list_bucket(base_path: str) -> list[str]:
    """Return the names in a folder of a bucket; a version without its model's file is still being pushed."""
    try:
        with files.explained(base_path):
            names = files.list_names(base_path)
            if not names:
                # A bucket has no empty folders: what was served stays.
                raise FileNotFoundError(f"nothing below {base_path}")
            return [
                name
                for name in names
                if not _NUMBER.fullmatch(name) or is_saved_model(os.path.join(base_path, name))
            ]
    except MiranteError as e:
        raise OSError(str(e)) from e
