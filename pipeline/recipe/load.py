"""Reads a recipe: a YAML file or a built-in recipe, with values that the command line puts into it.

Imports no TensorFlow.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.base.errors import UsageError
from components.base.paths import is_remote
from components.base.redact import redact
from components.base.words import suggest
from components.models.user_code import check_builder
from components.models.weights_file import check_weights
from components.trainer.tracking.installed import check_installed
from components.trainer.warm_start.config import LATEST_BLESSED, WarmStartConfig
from pipeline.engines import places
from pipeline.recipe.best import take_best
from pipeline.recipe.paths import check_paths_elsewhere, make_paths_absolute
from pipeline.recipe.recipe import Recipe
from pipeline.recipe.rules import check_rules, make_searched_recipes
from pipeline.recipe.wording import add_origin, find_odd_values, find_secrets, format_errors, join_lines
from pipeline.recipe.yaml_text import RecipeYamlError, read_yaml

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


def recipe_names() -> list[str]:
    """Return the names of the built-in recipes, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def recipe_path(recipe: str) -> Path:
    """Return the file of a recipe.

    Args:
        recipe: Name of a built-in recipe, which comes before a file of that name, or the path of a file.

    Raises:
        UsageError: Neither a built-in recipe nor a file.
    """
    if recipe in recipe_names():
        return RECIPES / f"{recipe}.yaml"
    path = Path(recipe)
    if path.is_file():
        return path
    raise UsageError(
        f"no such recipe: {recipe!r}: neither a file nor one of {', '.join(recipe_names())}"
        f"{suggest(recipe, recipe_names())}"
    )


def load_recipe(
    recipe: str,
    overrides: Iterable[str] = (),
    data_path: str | None = None,
    *,
    elsewhere: bool = False,
    data_here: bool = False,
) -> Recipe:
    """Read a recipe, apply the overrides, and check the result.

    Args:
        recipe: Name of a built-in recipe, or a YAML file.
        overrides: `key.sub=value`, the value read as YAML.
        data_path: The value of `--data`; replaces `data.path`.
        elsewhere: The recipe is for another machine: its paths are that machine's, and are not looked at.
        data_here: `data.path` is on this machine even so.

    Returns:
        The recipe, with every path in it absolute.

    Raises:
        UsageError: Not a valid recipe; the message names file, key, value and remedy.

    Example:
        >>> load_recipe("digits", ["training.epochs=3"]).training.epochs
        3
    """
    path = recipe_path(recipe)
    values = _read(path)
    options = {_apply_override(values, given): "--set" for given in overrides}
    if data_path is not None:
        section = values["data"] = values.get("data") or {}
        if isinstance(section, dict):
            section["path"] = data_path
        options["data.path"] = "--data"
    folder = os.getcwd() if path.parent == RECIPES else os.path.abspath(path.parent)
    try:
        only = (("data.path",) if data_here else ()) if elsewhere else None
        make_paths_absolute(values, folder, options, only)
    except ValueError as e:
        raise UsageError(add_origin(str(path), options, str(e))) from e
    where = f"{path}{take_best(values, list(options))}"
    options.pop("hyperparameters", None)  # the file is named in its place
    return resolve(values, where, elsewhere=elsewhere, options=options)


def resolve(
    values: dict[str, Any], where: str, *, elsewhere: bool = False, options: Mapping[str, str] | None = None
) -> Recipe:
    """Check the values that a file would hold, and return their recipe.

    Args:
        values: As YAML gives them; changed in place.
        where: Where they come from; begins every message about a value that no option gave.
        elsewhere: As for `load_recipe`.
        options: The option that gave a key, by key; begins the messages about it.

    Raises:
        UsageError: As `load_recipe` does; no secret is in its message.
    """
    options = options or {}

    def refuse(lines: Iterable[str]) -> None:
        if placed := [add_origin(where, options, line) for line in lines]:
            raise UsageError(join_lines(placed, where))

    refuse(find_odd_values(values))
    try:
        if elsewhere:
            check_paths_elsewhere(values)
        else:
            make_paths_absolute(values, os.getcwd(), options)
        resolved = Recipe.model_validate(values)
        refuse(find_secrets(resolved.model_dump(by_alias=True)))
        check_rules(resolved)
    except ValidationError as e:
        refuse(format_errors(e, Recipe))
        raise
    except ValueError as e:
        raise UsageError(add_origin(where, options, redact(str(e)))) from e
    try:
        if not elsewhere:
            check_this_machine(resolved)
    except UsageError as e:
        raise UsageError(add_origin(where, options, str(e))) from e
    return resolved


def override(values: dict[str, Any], key: str, value: Any, said: str) -> None:
    """Put a value into those of a recipe, under a key like `training.epochs`.

    Raises:
        UsageError: There is a single value where the key has more parts; begins with `said`.
    """
    *parents, last = key.strip().split(".")
    target = values
    for parent in parents:
        if target.get(parent) is None:
            target[parent] = {}
        target = target[parent]
        if not isinstance(target, dict):
            raise UsageError(f"{said}: {parent} is a single value and has no keys below it")
    target[last] = value


def list_keys(overrides: Mapping[str, Any]) -> list[str]:
    """Return the keys that overrides set: for a mapping, such as `data={source: csv}`, those in it."""
    keys = []
    for key, value in overrides.items():
        inner = {f"{key}.{name}": below for name, below in value.items()} if isinstance(value, dict) else {}
        keys += list_keys(inner) if inner else [str(key)]
    return keys


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Return the values that `--set` gives, by their keys.

    Raises:
        UsageError: One is not `key.sub=value`, or its value is not YAML.
    """
    return dict(map(_parse_override, overrides))


def _read(path: Path) -> dict[str, Any]:
    try:
        values = read_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as e:
        raise UsageError(f"{path}: expected UTF-8, got something else at byte {e.start}; save it so") from e
    except OSError as e:
        raise UsageError(f"{path}: cannot be read: {e.strerror or e}") from e
    except RecipeYamlError as e:
        raise UsageError(f"{path}: cannot be read as YAML: {e}") from e
    if not isinstance(values, dict):
        got = "nothing" if values is None else "a list" if isinstance(values, list) else "a single value"
        raise UsageError(f"{path}: expected keys and values at the top, got {got}")
    return values


def _apply_override(values: dict[str, Any], given: str) -> str:
    """Put what `--set` gives into `values`, and return its key."""
    key, value = _parse_override(given)
    override(values, key, value, f"--set {redact(given[:200])}")
    return key


def _parse_override(given: str) -> tuple[str, Any]:
    key, equals, text = given.partition("=")
    if not equals or not key.strip():
        raise UsageError(redact(f"--set {given}: expected key.sub=value, e.g. --set training.epochs=3"))
    try:
        value = read_yaml(text)
    except RecipeYamlError as e:
        raise UsageError(redact(f"--set {given[:200]}: the value cannot be read as YAML: {e}")) from e
    return key.strip(), value


def check_this_machine(recipe: Recipe) -> None:
    """Refuse a recipe that cannot run on this machine.

    Raises:
        UsageError: A file is not here or a package is missing; begins with the key.
    """
    check_weights(recipe.model)
    check_installed(recipe.training.tracking)
    _check_warm_start(recipe.training.warm_start)
    check_builder(recipe.model)
    places.check_this_machine(recipe.beam)
    for key, searched in make_searched_recipes(recipe):
        try:
            check_weights(searched.model)
        except UsageError as e:
            raise UsageError(f"{key}: {e}") from e


def _check_warm_start(config: WarmStartConfig | None) -> None:
    # Only whether there is something: what it holds is looked at when training starts.
    if config is None or config.is_latest_blessed or is_remote(config.source):
        return
    # The prefix of a TensorFlow checkpoint is no file itself.
    if not os.path.exists(config.source) and not os.path.exists(f"{config.source}.index"):
        raise UsageError(
            f"training.warm_start.from: there is nothing at {config.source}; give {LATEST_BLESSED}, a pushed "
            "model or the folder of its versions, a .keras or .h5 file, or a TensorFlow checkpoint"
        )
