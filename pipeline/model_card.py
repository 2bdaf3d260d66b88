"""What a model card says of a run before it begins: the recipe's texts and settings, and the data."""

import dataclasses
import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from components.base.class_aliases import translate
from components.base.errors import UsageError
from components.base.redact import redact_values
from components.base.words import suggest_and_list
from components.model_card.card import SETTINGS
from components.model_card.facts import Given
from pipeline.data.examples import Examples
from pipeline.recipe.recipe import Recipe


def describe_for_card(recipe: Recipe, examples: Examples) -> dict[str, Any]:
    """Return what a model card says of a recipe and its data, as JSON for the Pusher.

    Raises:
        UsageError: The recipe has names for a class that the data do not have, or one name for two classes in
            the language of the card.
    """
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
    as_json = redact_values(dataclasses.asdict(given))
    # A recipe without them is the same to caches as it was before there were any.
    del as_json["class_aliases"]
    if recipe.about.language is None:
        del as_json["about"]["language"]
    else:
        translate("about.language", recipe.data.class_names, examples.class_names, recipe.about.language)
    if recipe.data.class_names:
        as_json["class_aliases"] = _check_classes(recipe.data.class_names, examples.class_names)
    return as_json


def _check_classes(
    aliases: Mapping[str, Mapping[str, str]], class_names: Sequence[str]
) -> dict[str, dict[str, str]]:
    for name in aliases:
        if name not in class_names:
            raise UsageError(
                f"data.class_names: expected classes of the data, got {name!r}"
                f"{suggest_and_list(name, class_names)}"
            )
    return {name: dict(of_class) for name, of_class in aliases.items()}
