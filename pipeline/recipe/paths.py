"""Paths in a recipe: where they are, what `~` and `${VARIABLE}` mean, and from where a relative one counts.

The fields say themselves that they hold a path (`components.base.settings.IsPath`). Imports no TensorFlow.
"""

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
_BARE_VARIABLE = re.compile(r"\$([A-Za-z_]\w*)")
# A path that is the start of the names of files, as a TensorFlow checkpoint has, ends so in one of them.
_ENDS = ("", ".index")


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
        ValueError: A variable that a path names is not set, or holds a secret; or a relative path is only in
            that one of the two folders from which it does not count. Begins with the key.
    """
    for path in find_paths(values):
        if only is not None and path.key not in only and not path.mark.is_read_here:
            continue
        from_shell = any(f"{path.key}.".startswith(f"{each}.") for each in given)
        prefix = path.mark.prefix
        if path.value.startswith(prefix):
            written = path.value[len(prefix) :]
            absolute = _make_absolute(path.key, written, os.getcwd() if from_shell else folder)
            if not path.mark.is_written and not _is_there(absolute):
                _say_other_folder(path.key, written, folder, from_shell=from_shell)
            path.section[path.name] = f"{prefix}{absolute}"
        else:
            path.section[path.name] = _replace_variables(path.key, path.value)


def check_paths_elsewhere(values: dict[str, Any]) -> None:
    """Refuse paths for another machine that only this one could complete.

    Raises:
        ValueError: A path has `${VARIABLE}` or begins with `~`, or the file of a database is relative; begins
            with the key.
    """
    for path in find_paths(values):
        prefix = path.mark.prefix
        written = path.value.removeprefix(prefix)
        if written.startswith("~") or _VARIABLE.search(written):
            raise ValueError(
                f"{path.key}: ~ and ${{...}} are this machine's: expected a whole path, got {path.value}"
            )
        if prefix and path.value.startswith(prefix) and not os.path.isabs(written):
            raise ValueError(
                f"{path.key}: expected a whole path, which all tasks see, got {path.value}; give "
                f"{prefix}/FOLDER/FILE or a server"
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


def expand(key: str, path: str) -> str:
    """Replace `~` at the start of a path, and `${VARIABLE}` in it.

    Args:
        key: For messages: of the recipe, or an option.
        path: As users write it.

    Raises:
        ValueError: A variable is not set, or holds a secret; begins with the key.
    """
    return os.path.expanduser(_replace_variables(key, path))


def _make_absolute(key: str, written: str, start: str) -> str:
    path = expand(key, written)
    if not path:
        raise ValueError(f"{key}: expected a path, got an empty text")
    if is_remote(path):
        return path
    absolute = os.path.abspath(os.path.join(start, path))
    bare = next((name for name in _BARE_VARIABLE.findall(written) if name in os.environ), None)
    if bare and not _is_there(absolute):
        raise ValueError(f"{key}: expected ${{{bare}}} for a variable of the environment, got {written}")
    return absolute


def _is_there(path: str) -> bool:
    return any(os.path.exists(f"{path}{end}") for end in _ENDS)


def _say_other_folder(key: str, written: str, folder: str, *, from_shell: bool) -> None:
    """Refuse a relative path that is in the folder from which it does not count.

    Args:
        key: For the message.
        written: A path that is not in the folder from which it counts.
        folder: The recipe's.
        from_shell: Whether it counts from the folder of the shell, and not from the recipe's.
    """
    path = expand(key, written)
    meant = os.path.abspath(os.path.join(folder if from_shell else os.getcwd(), path))
    if is_remote(path) or os.path.isabs(path) or not _is_there(meant):
        return
    here, recipes = f"the current folder, {os.getcwd()}", f"the recipe's folder, {folder}"
    counts_from, other = (here, recipes) if from_shell else (recipes, here)
    by_option = f"--data {written}" if key == "data.path" else f"--set {key}={written}"
    remedy = f"give {os.path.relpath(meant)}" if from_shell else f"write {meant}, or give {by_option}"
    raise ValueError(f"{key}: expected {written} in {counts_from}, got one in {other}; {remedy}")


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
