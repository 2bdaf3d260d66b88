"""Reads and checks single values of the options of an ingest; a ValueError says what was expected."""

import datetime
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.base.words import find_nearest, suggest
from components.ingest import spans
from components.ingest.files import label_problem
from components.ingest.sources import SOURCES
from schemas import features


def read_span(value: Any) -> Any:
    """Return the span of a date, which YAML reads as one and JSON as a text; anything else as it is."""
    if isinstance(value, str):
        try:
            value = datetime.date.fromisoformat(value)
        except ValueError:
            return value
    is_date = isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    return spans.number_of_day(value) if is_date else value


def is_name_of_data(section: Mapping[str, Any], path: str) -> bool:
    """Return whether a path is a name that the source knows, such as one of tensorflow_datasets."""
    source = section.get("source")
    return isinstance(source, str) and source in SOURCES and SOURCES[source].is_name(path)


def check_source(name: str) -> str:
    """Refuse what is not the name of a source, with the nearest name."""
    if name not in SOURCES:
        raise ValueError(f"expected one of {', '.join(SOURCES)}, got {name!r}{suggest(name, SOURCES)}")
    return name


def make_split_check(*known: str) -> Callable[[str], str]:
    """Return a function that refuses what is not the name of a split, with the nearest name."""

    def check(name: str) -> str:
        if name in known:
            return name
        near = find_nearest(name, [*features.SPLITS, *features.EVAL_SYNONYMS])
        meant = features.EVAL if near in features.EVAL_SYNONYMS else near
        hint = f"; did you mean {meant}?" if meant else ""
        raise ValueError(f"expected one of {', '.join(known)}, got {name!r}{hint}")

    return check


def check_sum(splits: Mapping[str, float]) -> Mapping[str, float]:
    """Refuse shares that do not add up to 1."""
    total = math.fsum(splits.values())
    if abs(total - 1) > 1e-6:
        shown = ", ".join(f"{split}={share}" for split, share in splits.items())
        raise ValueError(
            f"expected shares that add up to 1, got {shown or 'none'}, which add up to {total:g}"
        )
    return splits


def path_as_text(value: Any) -> Any:
    """Return a path as its text."""
    return os.fspath(value) if isinstance(value, Path) else value


def number_as_text(value: Any) -> Any:
    """Return a number as its text; YAML reads 1 as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def check_aliases(names: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
    """Refuse names of classes in other languages that cannot be used, or that two classes have."""
    seen: dict[tuple[str, str], str] = {}
    for class_name, aliases in names.items():
        for language, alias in aliases.items():
            if problem := label_problem(alias):
                raise ValueError(f"{class_name}.{language}: {problem}")
            other = seen.setdefault((language, alias), class_name)
            if other != class_name:
                raise ValueError(
                    f"expected another name for each class, got {alias!r} ({language}) for {other} and "
                    f"{class_name}"
                )
    return names
