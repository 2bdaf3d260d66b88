"""What every store of models can do.

A store has versions of one model under the numbers that they have in the push destination. It serves one of
them. A version appears whole or not at all, and is never deleted: one that was taken back stays, unserved.
"""

import dataclasses
import os
from pathlib import Path
from typing import Protocol

from components.base.errors import UsageError


@dataclasses.dataclass(frozen=True)
class StoredVersion:
    """A version in a store.

    Attributes:
        number: The version.
        digest: SHA-256 of its files (`components.base.serving_folder.model_digest`).
        is_taken_back: Whether it was taken back.
    """

    number: int
    digest: str
    is_taken_back: bool


class ModelStore(Protocol):
    """A store of one model. Its methods raise MiranteError where the store does not answer."""

    def list_versions(self) -> list[StoredVersion]:
        """Return all versions, the highest first."""
        ...

    def find_served(self) -> int | None:
        """Return the version that clients get; None if there is none."""
        ...

    def add(self, folder: str, version: int, digest: str) -> None:
        """Add a SavedModel as a version and serve it: all of it or nothing."""
        ...

    def fetch(self, version: int, folder: str) -> None:
        """Write a version's files into an empty folder."""
        ...

    def serve(self, version: int) -> None:
        """Serve a version, which is not taken back any more, and take all higher ones back."""
        ...


def read_credential(name: str) -> str | None:
    """Return the value of an environment variable, or of the file that the variable with `_FILE` names.

    Raises:
        UsageError: The file cannot be read.
    """
    if (value := os.environ.get(name)) is not None:
        return value
    path = os.environ.get(f"{name}_FILE")
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        raise UsageError(f"{name}_FILE: expected a file with the value, got {path}: {e}") from e
