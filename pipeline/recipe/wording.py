"""Words what is wrong with a recipe: who gave the value, its key, what was expected. No TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from components.base.redact import find_secret, is_secret, redact
from components.base.words import suggest_and_list
from pipeline.recipe.yaml_text import UNWRITABLE

_LINES = 20
_VALUE_CHARS, _LINE_CHARS = 200, 1500
_OPTIONS_NAMED = 3
# What users may put any names into.
_FREE = ("model.options.",)
# Has its own words for it.
_SAYS_IT_ITSELF = "training.tracking.mlflow.tracking_uri"


def place(where: str, options: Mapping[str, str], line: str) -> str:
    """Return a line about a key with the place before it that gave the key's value.

    Args:
        where: The recipe's file.
        options: The option that gave a key, by key, in the order of the command line.
        line: Begins with the key and a colon, or with `unknown key 'KEY'`.
    """
    key = line.split("'")[1] if line.startswith("unknown key '") else line.partition(":")[0]
    for given, option in reversed(list(options.items())):
        if f"{key}.".startswith(f"{given}.") or f"{given}.".startswith(f"{key}."):
            return (
                f"{option} {line}"
                if line.startswith(given) and option == "--set"
                else _named(given, option, line)
            )
    named = [f"{option} {key}" if option == "--set" else option for key, option in options.items()]
    if named and not line.startswith("unknown key"):
        more = ", ..." if len(named) > _OPTIONS_NAMED else ""
        return f"{where} with {', '.join(named[:_OPTIONS_NAMED])}{more}: {line}"
    return f"{where}: {line}"


def _named(given: str, option: str, line: str) -> str:
    return f"{option} {given}: {line}" if option == "--set" else f"{option}: {line}"


def join(lines: list[str], where: str) -> str:
    """Return one message for several lines about a recipe."""
    if len(lines) == 1:
        return lines[0]
    shown = lines[:_LINES] + ([f"{len(lines) - _LINES:,} more"] if len(lines) > _LINES else [])
    return f"{where}: " + "\n" + "\n".join(f"  - {line.removeprefix(f'{where}: ')}" for line in shown)


def lines_of(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return a line for everything that pydantic found, each beginning with its key, without secrets."""
    return [redact(line)[:_LINE_CHARS] for line in _lines_of(error, model)]


def _lines_of(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"] if part != "[key]")
        if item["type"] == "extra_forbidden":
            known = _fields_at(item["loc"][:-1], model)
            yield f"unknown key {key!r}{suggest_and_list(str(item['loc'][-1]), sorted(known))}"
        elif item["type"] == "missing":
            yield f"{key}: required, but not set"
        elif item["type"] == "value_error":
            said = item["msg"].removeprefix("Value error, ")
            # A rule of a section names the key in it; a rule of a value does not.
            yield f"{key}: {said}" if said.startswith("expected ") else f"{key}{'.' if key else ''}{said}"
        else:
            given = repr(item["input"])
            given = given if len(given) <= _VALUE_CHARS else f"{given[:_VALUE_CHARS]}..."
            yield f"{key}: {item['msg'][0].lower()}{item['msg'][1:]}, got {given}"


def odd_values(values: Any, key: str = "") -> Iterator[str]:
    """Yield a line for every value that is no number or cannot be written to a file, each with its key."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            inner = f"{key}.{name}" if key else str(name)
            if UNWRITABLE.search(str(name)):
                yield f"{inner!a}: expected characters that can be written, got {str(name)!a}"
            else:
                yield from odd_values(value, inner)
    elif isinstance(values, list | tuple):
        for number, value in enumerate(values):
            yield from odd_values(value, f"{key}.{number}")
    elif isinstance(values, float) and not math.isfinite(values):
        yield f"{key}: expected a finite number, got {values}"
    elif isinstance(values, str) and UNWRITABLE.search(values):
        yield f"{key}: expected characters that can be written, got {redact(values)!a}"


def secrets_in(values: Any, key: str = "") -> Iterator[str]:
    """Yield a line for every text of a recipe that holds a secret: with its key, without the secret."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from secrets_in(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, list | tuple):
        for number, value in enumerate(values):
            yield from secrets_in(value, f"{key}.{number}")
    elif isinstance(values, str) and key != _SAYS_IT_ITSELF:
        name = key.rpartition(".")[2]
        is_named = key.startswith(_FREE) and is_secret(name, values)
        if kind := f"a value for {name}" if is_named else find_secret(values):
            yield (
                f"{key}: {kind} stands in it, and recipes are kept with every run and in compiled packages: "
                "leave it out, and give it by a variable of the environment (on Kubeflow by "
                "kubeflow.tasks.<node>.secrets)"
            )


def _fields_at(location: tuple[Any, ...], model: type[BaseModel]) -> Mapping[str, Any]:
    """Return the fields of the settings class at `location` in a recipe; empty where there is none."""
    current: Any = model
    for part in location:
        if get_origin(current) is dict:
            current = get_args(current)[1]
        elif str(part) in _fields_of(current):
            current = _fields_of(current)[str(part)].annotation
        else:
            return {}
        if get_origin(current) in (Union, UnionType):
            current = next((kind for kind in get_args(current) if _fields_of(kind)), current)
    return {field.alias or name: field for name, field in _fields_of(current).items()}


def _fields_of(kind: Any) -> Mapping[str, Any]:
    # On Python 3.10 `dict[str, float]` passes for a type, and then is none.
    is_class = isinstance(kind, type) and get_origin(kind) is None
    return kind.model_fields if is_class and issubclass(kind, BaseModel) else {}
