"""A recipe: its typed configuration, loaded from YAML, with overrides, validated. Imports no TensorFlow."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from components.config import (
    METRICS,
    PRETRAINED_NORMALIZATION,
    DataConfig,
    EvaluationConfig,
    InfraValidationConfig,
    ModelConfig,
    PushConfig,
    Settings,
    TrainingConfig,
    TransformConfig,
)
from components.errors import UsageError
from components.models.weights_file import check_weights

RECIPES = Path(__file__).with_name("recipes")


class Recipe(Settings):
    """Everything that determines a run, apart from where it happens."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=50)]
    task: Literal["classification"] = "classification"
    data: DataConfig = DataConfig()
    transform: TransformConfig = TransformConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig
    infra_validation: InfraValidationConfig = InfraValidationConfig()
    push: PushConfig = PushConfig()

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Recipe:
        wanted = PRETRAINED_NORMALIZATION.get(self.model.name)
        if self.model.weights is not None and self.transform.normalization != wanted:
            raise ValueError(
                f"transform.normalization: the pretrained weights of {self.model.name} expect {wanted}, "
                f"got {self.transform.normalization}; with anything else training does not converge"
            )
        if self.training.fine_tune_epochs and self.model.weights is None:
            raise ValueError(
                "training.fine_tune_epochs: there is nothing to fine-tune without model.weights; "
                "training.epochs trains all of the network"
            )
        if not self.evaluation.thresholds:
            raise ValueError(
                "evaluation.thresholds: at least one is needed, e.g. {accuracy: 0.9}: a model is pushed "
                "because it reached something"
            )
        return self


def recipe_names() -> list[str]:
    """Names of the built-in recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def recipe_path(recipe: str) -> Path:
    """The file of a built-in recipe's name, or of a path.

    Raises:
        UsageError: Neither a built-in recipe nor a file.
    """
    if recipe in recipe_names():
        return RECIPES / f"{recipe}.yaml"
    path = Path(recipe)
    if path.is_file():
        return path
    near = _nearest(recipe, recipe_names())
    raise UsageError(
        f"no such recipe: {recipe!r}: neither a file nor one of {', '.join(recipe_names())}"
        + (f"; did you mean {near!r}?" if near else "")
    )


def load_recipe(recipe: str, overrides: Iterable[str] = (), data_path: str | None = None) -> Recipe:
    """Loads, overrides and validates a recipe.

    Args:
        recipe: Name of a built-in recipe, or a YAML file.
        overrides: `key.sub=value`, the value read as YAML.
        data_path: What `--data` says; replaces `data.path`.

    Returns:
        The recipe, with every path in it absolute.

    Raises:
        UsageError: Anything that is not a valid recipe; the message names file, key, value and remedy.
    """
    path = recipe_path(recipe)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as e:
        where = f"line {e.problem_mark.line + 1}: " if e.problem_mark else ""
        raise UsageError(f"{path}: cannot be read as YAML: {where}{e.problem}; correct the line") from e
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise UsageError(f"{path}: cannot be read as YAML: {e}") from e
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected keys and values at the top, got {type(values).__name__}")
    for override in overrides:
        _apply_override(values, override)
    if data_path is not None:
        section = values["data"] = values.get("data") or {}
        if isinstance(section, dict):
            section["path"] = data_path
    _make_paths_absolute(values)
    try:
        loaded = Recipe.model_validate(values)
    except ValidationError as e:
        raise UsageError(f"{path}: {_worded(e)}") from e
    _check_names(loaded, path)
    return loaded


def _check_names(recipe: Recipe, path: Path) -> None:
    """Refuses what could not be run, before anything is done for it."""
    from components.ingest import source_names

    try:
        check_weights(recipe.model)
    except UsageError as e:
        raise UsageError(f"{path}: {e}") from e
    names = [("data.source", recipe.data.source, source_names())]
    names += [
        (f"evaluation.{part}", metric, list(METRICS))
        for part in ("thresholds", "max_regression")
        for metric in getattr(recipe.evaluation, part)
    ]
    for key, name, known in names:
        if name not in known:
            near = _nearest(name, known)
            hint = f": did you mean {near!r}?" if near else "."
            raise UsageError(f"{path}: {key}: there is no {name!r}{hint} Known here: {', '.join(known)}")


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {override}: expected key.sub=value, e.g. --set training.epochs=3")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as e:
        raise UsageError(f"--set {override}: the value cannot be read as YAML: {e}") from e
    *parents, last = key.strip().split(".")
    target = values
    for parent in parents:
        if target.get(parent) is None:
            target[parent] = {}
        target = target[parent]
        if not isinstance(target, dict):
            raise UsageError(f"--set {override}: {parent} is a single value and has no keys below it")
    target[last] = value


def _make_paths_absolute(values: dict[str, Any]) -> None:
    for part, key in (("data", "path"), ("model", "weights"), ("push", "destination")):
        section = values.get(part)
        if not isinstance(section, dict):
            continue
        value = section.get(key)
        if not isinstance(value, str) or value == "imagenet" or "://" in value:
            continue
        if part != "data" or not _is_data_name(section.get("source"), value):
            section[key] = os.path.abspath(os.path.expanduser(value))


def _is_data_name(source: object, value: str) -> bool:
    """Whether `data.path` is a name that the source knows, such as one of tensorflow_datasets."""
    from components.ingest.sources import SOURCES

    return isinstance(source, str) and source in SOURCES and SOURCES[source].is_name(value)


def _nearest(word: str, words: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)), None)


def _fields_at(location: tuple[Any, ...]) -> Mapping[str, Any]:
    """The fields of the settings class at `location` in a recipe; empty where there is none."""
    current: type[BaseModel] = Recipe
    for part in location:
        field = current.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type):
            return {}
        if not issubclass(field.annotation, BaseModel):
            return {}
        current = field.annotation
    return current.model_fields


def _worded(error: ValidationError) -> str:
    lines = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"] if part != "[key]")
        if item["type"] == "extra_forbidden":
            near = _nearest(str(item["loc"][-1]), _fields_at(item["loc"][:-1]))
            known = ", ".join(sorted(_fields_at(item["loc"][:-1])))
            lines.append(
                f"unknown key {key!r}"
                + (f": did you mean {near!r}?" if near else "")
                + f" Known here: {known}"
            )
        elif item["type"] == "missing":
            lines.append(f"{key}: required, but not set")
        elif item["type"] == "value_error":
            lines.append(f"{key + '.' if key else ''}{item['msg'].removeprefix('Value error, ')}")
        else:
            lines.append(f"{key}: {item['msg'][0].lower()}{item['msg'][1:]}, got {item['input']!r}")
    return lines[0] if len(lines) == 1 else "\n" + "\n".join(f"  - {line}" for line in lines)
