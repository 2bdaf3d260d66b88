"""What a recipe needs of the machine that runs it: files, packages, the user's own code. No TensorFlow."""

import os

from components.base.errors import UsageError
from components.base.paths import is_remote
from components.models.user_code import check_builder
from components.models.weights_file import check_weights
from components.trainer.tracking.installed import check_installed
from components.trainer.warm_start.config import LATEST_BLESSED, WarmStartConfig
from pipeline.recipe.recipe import Recipe
from pipeline.recipe.rules import make_searched_recipes


def check_this_machine(recipe: Recipe) -> None:
    """Refuse a recipe that cannot run on this machine.

    Raises:
        UsageError: A file is not here or a package is missing; begins with the key.
    """
    check_weights(recipe.model)
    check_installed(recipe.training.tracking)
    _check_warm_start(recipe.training.warm_start)
    check_builder(recipe.model)
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
