"""Hyperparameters: fields of the recipe's parts `model` and `training` by name, and values put into them.

A name is the way to the field, `training.augmentation.flip`. Imports no TensorFlow.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, get_origin

from pydantic import BaseModel

from components.base.settings import not_searched
from components.base.words import suggest_and_list
from components.models.config import ModelConfig
from components.trainer.config import TrainingConfig
from components.tuner.config import SearchField

PARTS: dict[str, type[BaseModel]] = {"model": ModelConfig, "training": TrainingConfig}


def field_names() -> list[str]:
    """Return the names of all fields, in the order of the configuration."""
    return [name for part, settings in PARTS.items() for name in _names_in(settings, part)]


def _names_in(settings: type[BaseModel], prefix: str) -> Iterator[str]:
    for key, field in settings.model_fields.items():
        name = f"{prefix}.{key}"
        kind = field.annotation
        # On Python 3.10 `dict[str, float]` passes for a type, but `issubclass` refuses it.
        if isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, BaseModel):
            yield from _names_in(kind, name)
        else:
            yield name


def check_name(name: str) -> None:
    """Refuse a name that is not a field's.

    Raises:
        ValueError: The message names the nearest field.
    """
    known = field_names()
    if name in known:
        return
    raise ValueError(f"there is no field {name!r}{suggest_and_list(name, known)}")


def check_searched(name: str) -> None:
    """Refuse a name that is not a field's, or that a search must not set.

    Raises:
        ValueError: The message says why.
    """
    check_name(name)
    part, key, *_ = name.split(".")
    mark = not_searched(PARTS[part]).get(key)
    if mark:
        raise ValueError(f"{name} is not searched for: {mark.reason}; take it out of tuner.fields")


def put(parts: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of `parts`, dicts as a recipe has them, with each value in its field."""
    changed = copy.deepcopy(dict(parts))
    for name, value in values.items():
        *ways, last = name.split(".")
        target = changed
        for key in ways:
            if not isinstance(target.get(key), dict):
                target[key] = {}
            target = target[key]
        target[last] = value
    return changed


def read_limits(name: str, field: SearchField, parts: Mapping[str, Any]) -> list[Any]:
    """Return the ends of the range, or all values, in the field's type.

    YAML reads 1e-3 as a word, and 1 may be meant as 1.0: the settings decide.
    """
    return [_convert(name, value, parts) for value in field.limits]


def _convert(name: str, value: Any, parts: Mapping[str, Any]) -> Any:
    part, *ways = name.split(".")
    current: Any = PARTS[part].model_validate(put(parts, {name: value})[part])
    for key in ways:
        current = getattr(current, key)
    return current


def make_settings(parts: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[ModelConfig, TrainingConfig]:
    """Return the parts `model` and `training` with `values` put into them.

    Raises:
        ValidationError: A value, or two of them together, are not allowed.
    """
    changed = put({part: parts[part] for part in PARTS}, values)
    return ModelConfig.model_validate(changed["model"]), TrainingConfig.model_validate(changed["training"])


def read_values(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields' values in KerasTuner's HyperParameters config, without its own entries."""
    return {
        name: value for name, value in hyperparameters["values"].items() if name.partition(".")[0] in PARTS
    }


def format_values(values: Mapping[str, Any]) -> str:
    """Format values such as `training.optimizer=adam, model.dropout=0.25`, with four digits."""
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in values.items()
    )
