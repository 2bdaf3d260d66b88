"""What a path in a recipe means: `~`, `${VARIABLE}`, and from where a relative one counts. No TensorFlow."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from typing import Any

from components.base.paths import is_remote
from components.base.redact import is_secret_name
from components.trainer.warm_start.config import LATEST_BLESSED

_TRACKING_URI = "training.tracking.mlflow.tracking_uri"
# Keys of paths.
PATHS = (
    "data.path",
    "data.label_map",
    "model.weights",
    "push.destination",
    "training.warm_start.from",
    "hyperparameters",
    _TRACKING_URI,
)
# Those that are read where a recipe is compiled for another machine.
PATHS_HERE = ("hyperparameters",)
# Words that may stand in place of a path.
_WORDS = {"model.weights": ("imagenet",), "training.warm_start.from": (LATEST_BLESSED, "")}
_SQLITE = "sqlite:///"
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def make_paths_absolute(
    values: dict[str, Any], folder: str, given: Collection[str] = (), keys: Collection[str] = PATHS
) -> None:
    """Writes every path of a recipe as an absolute one, in its place.

    Args:
        values: The recipe, as YAML gives it.
        folder: The recipe's, from which its paths count.
        given: Keys that the command line gave: their paths count from the folder of the shell.
        keys: Which paths, out of `PATHS`.

    Raises:
        ValueError: A variable that a path names is not set, or holds a secret; begins with the key.
    """
    for key, section, name in _found(values, keys):
        path = section[name]
        from_shell = any(f"{key}.".startswith(f"{each}.") for each in given)
        start = os.getcwd() if from_shell else folder
        if key == _TRACKING_URI:
            # Three slashes, then a path: a fourth makes it an absolute one.
            if path.startswith(_SQLITE):
                section[name] = f"{_SQLITE}{_absolute(key, path[len(_SQLITE) :], start)}"
            else:
                section[name] = _with_variables(key, path)
        else:
            section[name] = _absolute(key, path, start)


def check_paths_elsewhere(values: dict[str, Any]) -> None:
    """Refuse paths for another machine that only this one could complete.

    Raises:
        ValueError: A path has `${VARIABLE}` or begins with `~`; begins with the key.
    """
    for key, section, name in _found(values, PATHS):
        if section[name].startswith("~") or _VARIABLE.search(section[name]):
            raise ValueError(
                f"{key}: ~ and ${{...}} are this machine's: expected a whole path, got {section[name]}"
            )


def _found(values: dict[str, Any], keys: Collection[str]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield each key that holds a path, the section that it is in, and its name there."""
    for key in keys:
        *sections, name = key.split(".")
        section: Any = values
        for part in sections:
            section = section.get(part) if isinstance(section, dict) else None
        path = section.get(name) if isinstance(section, dict) else None
        if not isinstance(path, str) or path in _WORDS.get(key, ()):
            continue
        if key != "data.path" or not _is_data_name(section.get("source"), path):
            yield key, section, name


def _absolute(key: str, path: str, start: str) -> str:
    path = _with_variables(key, path)
    if not path:
        raise ValueError(f"{key}: expected a path, got an empty text")
    return path if is_remote(path) else os.path.abspath(os.path.join(start, os.path.expanduser(path)))


def _with_variables(key: str, path: str) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        if is_secret_name(name):
            raise ValueError(
                f"{key}: ${{{name}}} is a secret, and recipes are kept with every run: leave it out"
            )
        if name not in os.environ:
            raise ValueError(
                f"{key}: the environment variable {name} of {path} is not set: set it, or write the path"
            )
        return os.environ[name]

    return _VARIABLE.sub(value, path)


def _is_data_name(source: object, value: str) -> bool:
    """Whether `data.path` is a name that the source knows, such as one of tensorflow_datasets."""
    from components.ingest.sources import SOURCES

    return isinstance(source, str) and source in SOURCES and SOURCES[source].is_name(value)
