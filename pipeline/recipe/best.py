"""The file of values that a search found: written by its run, read by later ones (`hyperparameters: FILE`).

One line a field, `training.learning_rate: 0.001`. Imports no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.base.errors import UsageError
from components.trainer.fields import check_name, put
from pipeline.recipe.yaml_text import RecipeYamlError, read_yaml, write_yaml

BEST_FILE = "best_hyperparameters.yaml"


def write_best(values: Mapping[str, Any], folder: Path) -> None:
    """Write the values that a search found, by recipe key, to the run's folder."""
    (folder / BEST_FILE).write_text(write_yaml(dict(values)), encoding="utf-8")


def take_best(recipe: dict[str, Any], overridden: Sequence[str]) -> str:
    """Puts the values of the file that the key `hyperparameters` names into a recipe; the key becomes null.

    They come before what the recipe says, and after what `--set` says.

    Args:
        recipe: As it was read; changed in place.
        overridden: The keys that `--set` gave.

    Returns:
        For messages about the recipe: ` with FILE`, nothing without a file.

    Raises:
        UsageError: The file cannot be read, or names what is no field.
    """
    given = recipe.get("hyperparameters")
    if not isinstance(given, str):
        return ""
    try:
        values = read_yaml(Path(given).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecipeYamlError) as e:
        why = getattr(e, "strerror", None) or e
        raise UsageError(
            f"hyperparameters: {given} cannot be read: {why}. Give a file like runs/<run id>/{BEST_FILE}"
        ) from e
    if not isinstance(values, dict):
        raise UsageError(
            f"hyperparameters: {given}: expected lines like `training.learning_rate: 0.001`, got "
            f"{type(values).__name__}"
        )
    for name in values:
        try:
            check_name(str(name))
        except ValueError as e:
            raise UsageError(f"hyperparameters: {given}: {e}") from e
    taken = {
        name: value
        for name, value in values.items()
        if not any(f"{name}.".startswith(f"{key}.") for key in overridden)
    }
    recipe.update(put({part: recipe.get(part) or {} for part in ("model", "training")}, taken))
    recipe["hyperparameters"] = None
    return f" with {given}"
