"""The file with the values that a search found; later runs read it by `hyperparameters: FILE`.

It has one line per field, such as `training.learning_rate: 0.001`. Imports no TensorFlow.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.base.errors import UsageError
from components.trainer.fields import check_name, put
from pipeline.recipe.wording import format_value
from pipeline.recipe.yaml_text import RecipeYamlError, read_yaml, write_yaml

BEST_FILE = "best_hyperparameters.yaml"


def write_best(values: Mapping[str, Any], folder: Path) -> None:
    """Write the values that a search found, by recipe key, to the run's folder."""
    (folder / BEST_FILE).write_text(write_yaml(dict(values)), encoding="utf-8")


def take_best(recipe: dict[str, Any], overridden: Sequence[str]) -> str:
    """Put the values of the file in `hyperparameters` into a recipe, and set the key to null.

    They replace the values of the recipe's file, but not those of `--set`.

    Args:
        recipe: Values as YAML gives them; changed in place.
        overridden: Keys that `--set` gave.

    Returns:
        ` with FILE`, for messages about the recipe; empty without a file.

    Raises:
        UsageError: The file cannot be read, or has an unknown field.
    """
    given = recipe.get("hyperparameters")
    if not isinstance(given, str):
        return ""
    try:
        values = read_yaml(Path(given).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecipeYamlError) as e:
        why = getattr(e, "strerror", None) or e
        raise UsageError(
            f"hyperparameters: {given} cannot be read: {why}; give a file like runs/<run id>/{BEST_FILE}"
        ) from e
    if not isinstance(values, dict):
        raise UsageError(
            f"hyperparameters: {given}: expected lines like `training.learning_rate: 0.001`, got "
            f"{format_value(values)}"
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
