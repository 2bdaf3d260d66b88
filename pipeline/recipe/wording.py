"""Messages about a recipe: the origin of the value, its key, what was expected. Imports no TensorFlow."""

import json
import math
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from components.base.redact import find_secret, is_secret, redact
from components.base.words import suggest_and_list
from pipeline.recipe.yaml_text import UNWRITABLE

_LINES = 20
_VALUE_CHARS, _LINE_CHARS = 200, 1500
_OPTIONS_NAMED = 3
# Mappings in which users choose the keys.
_FREE = ("model.options.",)
# Types of pydantic's errors, and what they expected; the first part of other types names a kind of value.
_BOUNDS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "a text that matches {pattern}",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "too_long": "at most {max_length} values",
    "too_short": "at least {min_length} values",
}
_KINDS = {
    "bool": "true or false",
    "dict": "a mapping",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "model": "a mapping",
    "string": "a text",
    "tuple": "a list",
}
# Its own class of settings looks for secrets.
_CHECKED_BY_ITSELF = "training.tracking.mlflow.tracking_uri"


def add_origin(where: str, options: Mapping[str, str], line: str) -> str:
    """Return a line about a key, with the file or option before it that gave the key's value.

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
                else _add_option(given, option, line)
            )
    named = [f"{option} {key}" if option == "--set" else option for key, option in options.items()]
    if named and not line.startswith("unknown key"):
        more = ", ..." if len(named) > _OPTIONS_NAMED else ""
        return f"{where} with {', '.join(named[:_OPTIONS_NAMED])}{more}: {line}"
    return f"{where}: {line}"


def _add_option(given: str, option: str, line: str) -> str:
    return f"{option} {given}: {line}" if option == "--set" else f"{option}: {line}"


def join_lines(lines: list[str], where: str) -> str:
    """Return one message for several lines about a recipe."""
    if len(lines) == 1:
        return lines[0]
    shown = lines[:_LINES] + ([f"{len(lines) - _LINES:,} more"] if len(lines) > _LINES else [])
    return f"{where}: " + "\n" + "\n".join(f"  - {line.removeprefix(f'{where}: ')}" for line in shown)


def format_errors(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return a line for each error that pydantic found; it begins with the key, and secrets are masked."""
    return [redact(line)[:_LINE_CHARS] for line in _format_errors(error, model)]


def _format_errors(error: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"] if part != "[key]")
        if item["type"] == "extra_forbidden":
            known = _find_fields(item["loc"][:-1], model)
            yield f"unknown key {key!r}{suggest_and_list(str(item['loc'][-1]), sorted(known))}"
        elif item["type"] == "missing":
            yield f"{key}: required, but not set"
        elif item["type"] == "value_error":
            said = item["msg"].removeprefix("Value error, ")
            # A rule of a section names the key in it; a rule of a value does not.
            yield f"{key}: {said}" if said.startswith("expected ") else f"{key}{'.' if key else ''}{said}"
        else:
            yield f"{key}: {_format_expected(item)}, got {format_value(item['input'])}"


def format_value(value: Any) -> str:
    """Return a value as YAML has it, cut off if it is long."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _VALUE_CHARS else f"{text[:_VALUE_CHARS]}..."


def _format_expected(item: Any) -> str:
    """Return what pydantic expected, in the words of YAML."""
    kind: str = item["type"]
    if kind in _BOUNDS:
        context = {key: f"{v:g}" if isinstance(v, float) else v for key, v in item["ctx"].items()}
        return f"expected {_BOUNDS[kind].format(**context)}"
    name = kind.partition("_")[0]
    return f"expected {_KINDS[name]}" if name in _KINDS else f"{item['msg'][0].lower()}{item['msg'][1:]}"


def find_odd_values(values: Any, key: str = "") -> Iterator[str]:
    """Yield a line for each value that is infinite, not a number, or cannot be written to a file."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            inner = f"{key}.{name}" if key else str(name)
            if UNWRITABLE.search(str(name)):
                yield f"{inner!a}: expected characters that can be written, got {str(name)!a}"
            else:
                yield from find_odd_values(value, inner)
    elif isinstance(values, list | tuple):
        for number, value in enumerate(values):
            yield from find_odd_values(value, f"{key}.{number}")
    elif isinstance(values, float) and not math.isfinite(values):
        yield f"{key}: expected a finite number, got {values}"
    elif isinstance(values, str) and UNWRITABLE.search(values):
        yield f"{key}: expected characters that can be written, got {redact(values)!a}"


def find_secrets(values: Any, key: str = "") -> Iterator[str]:
    """Yield a line for each text of a recipe that holds a secret; it has the key, but not the secret."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from find_secrets(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, list | tuple):
        for number, value in enumerate(values):
            yield from find_secrets(value, f"{key}.{number}")
    elif isinstance(values, str) and key != _CHECKED_BY_ITSELF:
        name = key.rpartition(".")[2]
        is_named = key.startswith(_FREE) and is_secret(name, values)
        if kind := f"a value for {name}" if is_named else find_secret(values):
            yield (
                f"{key}: expected no secret, got {kind}; recipes are kept with every run and in compiled "
                "packages: leave it out, and give it by an environment variable (on Kubeflow by "
                "kubeflow.tasks.<node>.secrets)"
            )


def _find_fields(location: tuple[Any, ...], model: type[BaseModel]) -> Mapping[str, Any]:
    """Return the fields of the settings class at `location` in a recipe; empty if there is no class."""
    current: Any = model
    for part in location:
        if get_origin(current) is dict:
            current = get_args(current)[1]
        elif get_origin(current) is tuple and isinstance(part, int):
            current = get_args(current)[0]
        elif str(part) in _get_fields(current):
            current = _get_fields(current)[str(part)].annotation
        else:
            return {}
        if get_origin(current) in (Union, UnionType):
            kinds = [kind for kind in map(_strip, get_args(current)) if kind is not type(None)]
            current = next((kind for kind in kinds if _get_fields(kind)), kinds[0])
        current = _strip(current)
    return {field.alias or name: field for name, field in _get_fields(current).items()}


def _strip(kind: Any) -> Any:
    """Return a type without the marks of its annotation."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _get_fields(kind: Any) -> Mapping[str, Any]:
    # On Python 3.10 `dict[str, float]` is an instance of type, but not a class.
    is_class = isinstance(kind, type) and get_origin(kind) is None
    return kind.model_fields if is_class and issubclass(kind, BaseModel) else {}
