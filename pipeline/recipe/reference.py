"""The page of all keys of a recipe, docs/recipe.md, written from the fields: `make docs`. No TensorFlow."""

import inspect
import json
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from components.base.settings import IsPath
from pipeline.recipe.recipe import Recipe

PAGE = Path(__file__).resolve().parents[2] / "docs" / "recipe.md"
# What a key of a mapping with settings is called in the page.
_MAPPINGS = {"beam.nodes": "GROUP", "kubeflow.tasks": "NODE", "vertex.tasks": "NODE", "tuner.fields": "FIELD"}
_INTRODUCTION = """# Recipe

All keys of a recipe, in the order of the data. This page is written from the code: `make docs`.

A recipe is a YAML file like those in [pipeline/recipes](../pipeline/recipes). `--set training.epochs=3` sets any key
from the command line, and unknown keys are refused with the nearest known one.
[From a folder of photos to a recipe of your own](own-data.md) shows how to write a recipe.

Where the value is a path, a relative one counts from the folder of the recipe's file, wherever the command runs; in
`--data` and `--set`, in `--root` (by default `runs/<name>`) and with a built-in recipe, from the current folder. If a file
is in the other one of the two folders only, the message says so. `~` at the beginning is your home, and `${VARIABLE}`
anywhere is that variable of the environment; one that is not set, or whose name is a secret's, is refused. An address such
as `gs://bucket/file` stays as it is. `mirante compile` writes paths for the tasks of a cluster: it takes absolute paths and
addresses alone, without `~` and `${VARIABLE}`. Paths that it reads on this machine are the exception: `hyperparameters`, and
for Vertex AI `--data`.
"""  # noqa: E501 - as wide as the pages of docs


def format_reference() -> str:
    """Return the page as Markdown: a table for each part of a recipe, a row for each key."""
    return _INTRODUCTION + "".join(_sections(Recipe, "", {}))


def _sections(settings: type[BaseModel], path: str, sections: dict[type[BaseModel], str]) -> Iterator[str]:
    """Yield the section of a class of settings, and those of the classes in it.

    Args:
        settings: The class.
        path: Its key; empty for the recipe.
        sections: The key of the section of each class, the first key that has the class; filled here.
    """
    rows, inner = [], []
    for name, field in settings.model_fields.items():
        key = field.alias or name
        full = f"{path}.{key}" if path else key
        for found, place in _settings_in(field.annotation, full):
            if found not in sections:
                sections[found] = place
                inner.append(found)
        rows.append(_row(key, field, full, sections))
    if path:
        yield f"\n## {path}\n\n{_add_links(_say(settings))}\n"
    yield "\n| key | value | default | meaning |\n|---|---|---|---|\n" + "".join(rows)
    for found in inner:
        yield from _sections(found, sections[found], sections)


def _row(key: str, field: FieldInfo, full: str, sections: dict[type[BaseModel], str]) -> str:
    meaning = field.description
    for settings, _ in _settings_in(field.annotation, full):
        section = sections[settings]
        meaning = meaning or _say(settings).partition(" (docs/")[0].rstrip(".")
        meaning = f"{meaning}: [{section}](#{_anchor(section)})"
    if not meaning:
        raise ValueError(f"{full}: the field has no description")
    if not field.description and (meaning[1].islower() or meaning[1] == " "):
        meaning = meaning[0].lower() + meaning[1:]
    kind = _format_type(field.annotation, field.metadata)
    if any(isinstance(mark, IsPath) and not mark.prefix for mark in field.metadata):
        kind = kind.replace("text", "path")
    cells = (f"`{key}`", kind, _format_default(field), _add_links(meaning))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _say(settings: type[BaseModel]) -> str:
    """Return the first paragraph of a class's docstring, on one line."""
    return " ".join((inspect.getdoc(settings) or "").partition("\n\n")[0].split())


def _add_links(text: str) -> str:
    """Return a text with links to the pages of docs/ that it names."""
    return re.sub(r"docs/((?:\w+/)*([\w-]+)\.md)", r"[\2](\1)", text)


def _anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return "".join(letter for letter in heading.lower() if letter.isalnum() or letter in "-_")


def _settings_in(annotation: Any, place: str) -> Iterator[tuple[type[BaseModel], str]]:
    """Yield the classes of settings that a field holds, each with its key."""
    origin = get_origin(annotation)
    if origin is None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation, place
        return
    inner = f"{place}.{_MAPPINGS.get(place, 'NAME')}" if origin is dict else place
    for each in get_args(annotation):
        yield from _settings_in(each, inner)


def _format_default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default()
    if isinstance(value, BaseModel) or value is PydanticUndefined:
        return ""
    if isinstance(value, tuple) and any(isinstance(each, BaseModel) for each in value):
        value = [each.model_dump(exclude_defaults=True) for each in value]
    return f"`{json.dumps(value, ensure_ascii=False)}`".replace('"', "") if value != "" else "empty"


def _format_type(annotation: Any, metadata: Any = (), is_plural: bool = False) -> str:
    """Return what a field takes, in YAML's words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _format_type(inner[0], (*inner[1:], *metadata), is_plural)
    if origin is Literal:
        return _join([f"`{value}`" for value in inner])
    if origin in (Union, types.UnionType):
        kinds = [_format_type(kind, metadata) for kind in inner if kind is not type(None)]
        return _join([*kinds, *(["null"] if type(None) in inner else [])])
    if origin is dict:
        return f"mapping to {_format_type(inner[1], is_plural=True)}"
    if origin is list or (origin is tuple and inner[-1] is Ellipsis):
        return f"list{'s' * is_plural} of {_format_type(inner[0], is_plural=True)}"
    if origin is tuple:
        return f"list of {len(inner)} {_format_type(inner[0], is_plural=True)}"
    names = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    is_settings = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    name = "mapping" if is_settings else names.get(annotation, "value")
    return f"{name}{'s' * is_plural}{_format_bounds(metadata)}"


def _format_bounds(metadata: Any) -> str:
    """Return the bounds of a number, such as ` (0 to 1)`; nothing for those of 32 bits."""
    bounds = {}
    for each in _flat(metadata):
        for name in ("ge", "gt", "le", "lt"):
            value = getattr(each, name, None)
            if value is not None and abs(value) < 2**31 - 1:
                bounds[name] = f"{value:,}" if isinstance(value, int) else f"{value:g}"
    low = bounds.get("ge") or (f"above {bounds['gt']}" if "gt" in bounds else "")
    high = bounds.get("le") or (f"below {bounds['lt']}" if "lt" in bounds else "")
    if low and high:
        return f" ({low} to {high})"
    if "ge" in bounds:
        return f" ({low} or more)"
    return f" ({low or high})" if low or high else ""


def _flat(metadata: Any) -> Iterator[Any]:
    for each in metadata:
        if isinstance(each, FieldInfo):
            yield from _flat(each.metadata)
        elif isinstance(each, annotated_types.BaseMetadata):
            yield each


def _join(kinds: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(kinds[:-1]), kinds[-1])))


def main() -> None:
    """Write the page."""
    PAGE.write_text(format_reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
