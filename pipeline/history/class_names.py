"""The names of a run's classes, in the language that a page has them in."""

from collections.abc import Sequence

import yaml

from components.base.class_aliases import translate
from components.base.errors import UsageError
from pipeline.history.runs import PastRun

_ALIASES = "data.class_names."
_LANGUAGE = "about.language"


def list_classes(run: PastRun) -> list[str]:
    """Return all classes of a run, in the order of their labels; empty if it did not get to its data."""
    return run.record.class_names if run.record else list(run.result.get("per_class") or {})


def find_names(runs: Sequence[PastRun], language: str | None) -> dict[str, str]:
    """Return the names of the classes of some runs by their own.

    Args:
        runs: Where two of them give a class a name in the language, that of the first counts.
        language: The code that a user asks for; that of the first run's recipe when None.

    Raises:
        UsageError: The language was asked for, and the recipes of the runs have no names in it, or one name
            for two classes.
    """
    aliases: dict[str, dict[str, str]] = {}
    try:
        wanted = language or runs[0].settings.get(_LANGUAGE)
        if not wanted:
            return {}
        for run in reversed(runs):
            for name, of_class in _read_aliases(run).items():
                aliases[name] = aliases.get(name, {}) | of_class
    except (OSError, ValueError, yaml.YAMLError):
        if language:
            raise
        return {}  # A damaged recipe, which the page says elsewhere.
    classes = [name for run in runs for name in list_classes(run)]
    try:
        return translate("--language", aliases, list(dict.fromkeys([*classes, *aliases])), wanted)
    except UsageError:
        if language:
            raise
        return {}  # The run says what is wrong with its recipe.


def _read_aliases(run: PastRun) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for key, alias in run.settings.items():
        if key.startswith(_ALIASES) and isinstance(alias, str):
            # A class name may have dots; a code has none.
            name, _, code = key.removeprefix(_ALIASES).rpartition(".")
            found.setdefault(name, {})[code] = alias
    return found
