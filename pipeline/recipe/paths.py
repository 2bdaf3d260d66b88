"""Paths in a recipe: where they are, what `~` and `${VARIABLE}` mean, and from where a relative one counts.

The fields say themselves that they hold a path (`components.base.settings.IsPath`). Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Collection, Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from components.base.paths import is_remote
from components.base.redact import is_secret_name
from components.base.settings import IsPath
from pipeline.recipe.recipe import Recipe

_VARIABLE = re.compile(r"\$\{([^}]*)\}")


@dataclasses.dataclass(frozen=True)
class PathInRecipe:
    """A path in the values of a recipe.

    Attributes:
        key: Such as `training.warm_start.from`.
        section: The mapping that holds the path; assign to `section[name]` to change it.
        name: The last part of the key.
        mark: What the field says of its path.
    """

    key: str
    section: dict[str, Any]
    name: str
    mark: IsPath

    @property
    def value(self) -> str:
        """The path as it is written."""
        return str(self.section[self.name])


def find_paths(
    values: dict[str, Any], settings: type[BaseModel] = Recipe, prefix: str = ""
) -> Iterator[PathInRecipe]:
    """Yield every path in the values of a recipe.

    Args:
        values: As YAML gives them; what does not have the form of a recipe is passed over.
        settings: The class of the values.
        prefix: Of the keys.
    """
    for field_name, field in settings.model_fields.items():
        name = field.alias or field_name
        value = values.get(name)
        if isinstance(value, dict):
            for inner in _settings_in(field.annotation):
                yield from find_paths(value, inner, f"{prefix}{name}.")
        for mark in field.metadata:
            if isinstance(mark, IsPath) and mark.is_path(values, value):
                yield PathInRecipe(f"{prefix}{name}", values, name, mark)


def find_files(values: dict[str, Any]) -> Iterator[PathInRecipe]:
    """Yield the paths that the nodes of a run read or write, other than databases."""
    return (path for path in find_paths(values) if not path.mark.prefix and not path.mark.is_read_here)


def list_files(recipe: Recipe) -> dict[str, str]:
    """Return the paths that the nodes of a run read or write, by key."""
    return {path.key: path.value for path in find_files(recipe.model_dump(by_alias=True)) if path.value}


def make_paths_absolute(
    values: dict[str, Any], folder: str, given: Collection[str] = (), only: Collection[str] | None = None
) -> None:
    """Replace every path of a recipe by an absolute one.

    Args:
        values: The recipe, as YAML gives it; changed in place.
        folder: The recipe's folder, from which its paths count.
        given: Keys that the command line gave: their paths count from the folder of the shell.
        only: Keys of paths that are read on this machine, in addition to those that always are; None for all.

    Raises:
        ValueError: A variable that a path names is not set, or holds a secret; begins with the key.
    """
    for path in find_paths(values):
        if only is not None and path.key not in only and not path.mark.is_read_here:
            continue
        from_shell = any(f"{path.key}.".startswith(f"{each}.") for each in given)
        prefix = path.mark.prefix
        if path.value.startswith(prefix):
            start = os.getcwd() if from_shell else folder
            absolute = _make_absolute(path.key, path.value[len(prefix) :], start)
            path.section[path.name] = f"{prefix}{absolute}"
        else:
            path.section[path.name] = _replace_variables(path.key, path.value)


def check_paths_elsewhere(values: dict[str, Any]) -> None:
    """Refuse paths for another machine that only this one could complete.

    Raises:
        ValueError: A path has `${VARIABLE}` or begins with `~`; begins with the key.
    """
    for path in find_paths(values):
        if path.value.startswith("~") or _VARIABLE.search(path.value):
            raise ValueError(
                f"{path.key}: ~ and ${{...}} are this machine's: expected a whole path, got {path.value}"
            )


def _settings_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the classes of settings that a field may hold, without those of lists and mappings."""
    # On Python 3.10 `dict[str, float]` is an instance of type.
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if issubclass(annotation, BaseModel):
            yield annotation
    elif get_origin(annotation) not in (dict, list, tuple):
        for inner in get_args(annotation):
            yield from _settings_in(inner)


def _make_absolute(key: str, path: str, start: str) -> str:
    path = _replace_variables(key, path)
    if not path:
        raise ValueError(f"{key}: expected a path, got an empty text")
    return path if is_remote(path) else os.path.abspath(os.path.join(start, os.path.expanduser(path)))


def _replace_variables(key: str, path: str) -> str:
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
