"""The command to run after an inspection."""

import contextlib
import json
import math
from collections.abc import Sequence

from components.base.task import part, task_named
from components.ingest.config import IngestConfig
from pipeline.inspection.facts import Sizes
from pipeline.inspection.protocol import TaskInspection
from pipeline.recipe.load import load_recipe, recipe_names
from pipeline.recipe.yaml_text import RecipeYamlError, read_yaml
from pipeline.run.output import quote_own


def choose_command(
    data: str,
    source: str,
    task: str,
    images: int,
    sizes: Sizes | None,
    config: IngestConfig,
    given: Sequence[str],
    *,
    ingested: bool,
) -> str:
    """Return the `mirante run` that fits the data, quoted for a shell.

    Args:
        data: The path, as it was given; "" for a source that brings its own.
        source: What reads the data.
        task: The kind of answer that a model of them gives.
        images: How many there are.
        sizes: Their sizes.
        config: The options of the inspection.
        given: The names of those that were given.
        ingested: Whether the data are ingested, so that none of these options has an effect.
    """
    inspection: TaskInspection = part(task, "inspection")
    side_px = min(sizes.width.median, sizes.height.median) if sizes is not None else math.inf
    is_gray = sizes is not None and set(sizes.channels) == {"1"}
    recipe, values = inspection.choose_recipe(source, images, side_px, is_gray=is_gray)
    values = dict(values)
    if not ingested:
        if load_recipe(recipe).data.source != source:
            if (sibling := _find_sibling(recipe, source)) is not None:
                recipe = sibling
            else:
                values["data.source"] = source
        # The task sets some.
        own = [name for name in given if name not in task_named(task).ingest]
        values |= {f"data.{name}": getattr(config, name) for name in own}
    words = ["run", recipe, *(["--data", data] if data else [])]
    for key, value in values.items():
        words += ["--set", f"{key}={_format_value(value)}"]
    return quote_own(*words)


def _find_sibling(recipe: str, source: str) -> str | None:
    """Return the built-in recipe that is another one for a source; None if there is none."""
    own = load_recipe(recipe)
    for name in recipe_names():
        other = load_recipe(name)
        data = other.data.model_copy(update={"source": own.data.source})
        if other.data.source == source and other.model_copy(update={"name": own.name, "data": data}) == own:
            return name
    return None


def _format_value(value: object) -> str:
    """Return a value as `--set` reads it; a text in quotes where YAML would take it for something else."""
    with contextlib.suppress(RecipeYamlError):
        if isinstance(value, str) and read_yaml(value) == value:
            return value
    return json.dumps(value, ensure_ascii=False)
