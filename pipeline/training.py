"""What the Trainer and the Tuner get in TFX's `custom_config`."""

import os
from typing import Any

from components.models.user_code import builder_digest
from pipeline.data.examples import Examples
from pipeline.digests import CODE, node_code_digest, weights_digest
from pipeline.recipe.recipe import Recipe
from pipeline.steps import TRAINER, step_named
from pipeline.target import Target


def training_config(recipe: Recipe, examples: Examples, root: str, target: Target) -> dict[str, Any]:
    """Return the Trainer's options: the recipe's parts, and digests of the files that they name.

    Args:
        recipe: The recipe.
        examples: What the model is trained on.
        root: The pipeline root.
        target: Where the Trainer runs.

    Raises:
        UsageError: There are no weights where the training is to start from, or the data lack a class that
            the recipe names.
    """
    recipe.training.check_classes(examples.class_names)
    data_path = examples.span.path if examples.span else recipe.data.path
    # Left out where it is the default, so that trainings of other data are what they were.
    bit_depth = {"bit_depth": examples.bit_depth} if examples.bit_depth is not None else {}
    return {
        "task": recipe.task,
        "transform": recipe.transform.model_dump(),
        "model": recipe.model.model_dump(),
        "training": recipe.training.model_dump(),
        "weights_sha256": weights_digest(recipe.model.weights),
        "builder_sha256": builder_digest(recipe.model),
        **bit_depth,
        **work_of(TRAINER, recipe, root),
        "about": {"recipe": recipe.name, "data": os.path.basename(data_path or recipe.data.source)},
        **target.warm_start_digest(recipe, recipe.push_destination(root)),
    }


def work_of(node_id: str, recipe: Recipe, root: str) -> dict[str, str]:
    """Return the code of a node that trains, and the folder for its work so far.

    Checkpoints are of one code, and a model that starts from another one records that model's code.
    """
    return {
        CODE: node_code_digest(node_id, recipe.task),
        "checkpoints": os.path.join(root, step_named(node_id).keeps),
    }
