"""What a model card says of a run before it begins: the recipe's texts and settings, and the data."""

import dataclasses
import functools
import operator
from typing import Any

from components.base.redact import redact_values
from components.model_card.card import SETTINGS
from components.model_card.facts import Given
from pipeline.data.examples import Examples
from pipeline.recipe.recipe import Recipe


def describe_for_card(recipe: Recipe, examples: Examples) -> dict[str, Any]:
    """Return what a model card says of a recipe and its data, as JSON for the Pusher."""
    values = recipe.model_dump(mode="json")
    given = Given(
        about=values["about"],
        name=recipe.name,
        task=recipe.task,
        class_names=list(examples.class_names),
        settings={key: functools.reduce(operator.getitem, key.split("."), values) for key in SETTINGS},
        counts=examples.class_counts,
        images=examples.records,
        data_sha256=examples.content,
        test_sha256=examples.test_content,
        source=recipe.data.source,
    )
    return redact_values(dataclasses.asdict(given))
