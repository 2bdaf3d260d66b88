"""A recipe: its typed configuration, loaded from YAML, with overrides, validated. Imports no TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from components.base.errors import UsageError
from components.base.paths import is_remote
from components.base.redact import redact
from components.base.settings import Settings
from components.base.words import suggest, suggest_and_list
from components.evaluator.config import METRICS, EvaluationConfig
from components.infra_validator.config import InfraValidationConfig
from components.ingest.config import DataConfig
from components.models.config import PRETRAINED_NORMALIZATION, ModelConfig, check_input
from components.models.user_code import check_builder
from components.models.weights_file import check_weights
from components.pusher.config import PushConfig
from components.trainer.config import TrainingConfig
from components.trainer.fields import check_searched, put
from components.trainer.warm_start.config import LATEST_BLESSED, WarmStartConfig
from components.transform.config import TransformConfig
from components.tuner.config import HYPERBAND_FACTOR, TunerConfig
from pipeline.recipe.best import take_best
from pipeline.recipe.paths import PATHS, PATHS_HERE, check_paths_elsewhere, make_paths_absolute
from pipeline.recipe.task_fit import check_fits_task
from pipeline.recipe.wording import join, lines_of, odd_values, place, secrets_in
from pipeline.recipe.yaml_text import RecipeYamlError, read_yaml
from pipeline.targets.kubeflow.config import KubeflowConfig
from pipeline.targets.vertex.config import VertexConfig

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


class Recipe(Settings):
    """Everything that determines a run, apart from where it happens."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=50)]
    task: Literal["classification", "detection"] = "classification"
    data: DataConfig = DataConfig()
    transform: TransformConfig = TransformConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    tuner: TunerConfig | None = Field(None, description="no search when null")
    hyperparameters: str | None = Field(
        None, description="a file of values for `model` and `training`, as a search writes it; null once read"
    )
    evaluation: EvaluationConfig
    infra_validation: InfraValidationConfig = InfraValidationConfig()
    use_cache: bool = Field(True, description="whether nodes keep equal results; false: every node executes")
    push: PushConfig = PushConfig()
    kubeflow: KubeflowConfig = KubeflowConfig()
    vertex: VertexConfig | None = Field(None, description="for `mirante compile --target vertex`")

    def files(self) -> dict[str, str]:
        """What the recipe names beside its data, by key: paths and addresses, no words in their place."""
        warm_start = self.training.warm_start
        named = {
            "data.label_map": self.data.label_map,
            "model.weights": None if self.model.weights == "imagenet" else self.model.weights,
            "push.destination": self.push.destination,
            "training.warm_start.from": (
                None if warm_start is None or warm_start.is_latest_blessed else warm_start.source
            ),
        }
        return {key: path for key, path in named.items() if path}

    @property
    def optional_steps(self) -> frozenset[str]:
        """The optional nodes of the recipe's pipeline, as `pipeline.steps` names them."""
        warm_start = self.training.warm_start
        asked = {
            "base_model": warm_start is not None and warm_start.is_latest_blessed,
            "tuner": self.tuner is not None,
        }
        return frozenset(name for name, is_asked in asked.items() if is_asked)

    def push_destination(self, root: str) -> str:
        """The folder that gets a folder for each version of the model, of a pipeline with that root."""
        return self.push.destination or os.path.join(root, "serving")

    @model_validator(mode="after")
    def _parts_fit_the_task(self) -> Recipe:
        check_fits_task(self.task, self.model, self.training, self.tuner)
        return self

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Recipe:
        check_input(self.model, self.transform.height_px, self.transform.width_px, self.transform.channels)
        wanted = PRETRAINED_NORMALIZATION.get(self.model.name)
        if wanted == "none" and self.transform.normalization != "none":
            raise ValueError(
                f"transform.normalization: {self.model.name} takes pixels of 0 to 255 and scales them "
                f"itself: expected none, got {self.transform.normalization}; scaled twice, they would all be "
                "near 0"
            )
        if self.model.weights is not None and wanted not in (None, self.transform.normalization):
            raise ValueError(
                f"transform.normalization: the pretrained weights of {self.model.name} expect {wanted}, "
                f"got {self.transform.normalization}; with anything else training does not converge"
            )
        warm_start = self.training.warm_start
        takes_backbone = warm_start is not None and warm_start.backbone_only
        if self.training.fine_tune_epochs and self.model.weights is None and not takes_backbone:
            raise ValueError(
                "training.fine_tune_epochs: there is nothing to fine-tune without model.weights, or a "
                "training.warm_start that takes the backbone alone (fine_tune_checkpoint_type: "
                "classification or detection); training.epochs trains all of the network"
            )
        augmentation = self.training.augmentation
        if self.transform.channels == 1 and (augmentation.saturation or augmentation.hue):
            raise ValueError(
                "training.augmentation: saturation and hue are of colours, and transform.channels is 1: set "
                "both to 0 (brightness, contrast and rand_augment are for gray images too)"
            )
        if self.kubeflow.workers is not None and self.training.strategy != "multi_worker":
            raise ValueError(
                "kubeflow.workers: these are for training.strategy: multi_worker, got "
                f"{self.training.strategy}; leave one out or set the other"
            )
        if not self.evaluation.thresholds:
            example = {"classification": "{accuracy: 0.9}", "detection": "{map_50: 0.5}"}[self.task]
            raise ValueError(
                f"evaluation.thresholds: at least one is needed, e.g. {example}: a model is pushed "
                "because it reached something"
            )
        if self.task == "detection" and self.evaluation.slice_by_class:
            raise ValueError(
                "evaluation.slice_by_class: an image of task: detection is of no one class; leave it out, "
                "every class is judged by itself anyway"
            )
        return self

    @model_validator(mode="after")
    def _what_is_searched_can_be(self) -> Recipe:
        if self.tuner is None:
            return self
        if self.training.strategy == "multi_worker":
            raise ValueError(
                "tuner: a search runs on one machine, and training.strategy is multi_worker: search without "
                "it and give what was found by `hyperparameters`"
            )
        longest = max(self.tuner.epochs_of_trials(self.training.epochs))
        if self.tuner.algorithm == "hyperband" and longest < HYPERBAND_FACTOR:
            raise ValueError(
                f"tuner.epochs: hyperband gives some trials a third of them, so {HYPERBAND_FACTOR} are the "
                f"least, got {longest}"
            )
        for name in self.tuner.fields:
            try:
                check_searched(name)
            except ValueError as e:
                raise ValueError(f"tuner.fields: {e}") from e
        for _ in self.searched():
            pass
        return self

    def searched(self) -> Iterator[tuple[str, Recipe]]:
        """What the search may make of this recipe, one field at a time, after the key that asks for it.

        Raises:
            ValueError: That would be no recipe.
        """
        if self.tuner is None:
            return
        lengths = self.tuner.epochs_of_trials(self.training.epochs)
        tried: list[tuple[str, dict[str, Any]]] = [("tuner.epochs", {"training.epochs": n}) for n in lengths]
        # In the trials, and in the Trainer.
        tried += [
            (f"tuner.fields.{name}", {"training.epochs": epochs, name: value})
            for name, field in self.tuner.fields.items()
            for value in field.limits
            for epochs in sorted({*lengths, self.training.epochs})
        ]
        for key, values in tried:
            try:
                yield key, Recipe.model_validate({**put(self.model_dump(), values), "tuner": None})
            except ValidationError as e:
                raise ValueError(
                    f"{key}: {list(values.values())[-1]!r} cannot be: {'; '.join(lines_of(e, Recipe))}"
                ) from e


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
    raise UsageError(
        f"no such recipe: {recipe!r}: neither a file nor one of {', '.join(recipe_names())}"
        f"{suggest(recipe, recipe_names())}"
    )


def load_recipe(
    recipe: str,
    overrides: Iterable[str] = (),
    data_path: str | None = None,
    *,
    elsewhere: bool = False,
    data_here: bool = False,
) -> Recipe:
    """Loads, overrides and validates a recipe.

    Args:
        recipe: Name of a built-in recipe, or a YAML file.
        overrides: `key.sub=value`, the value read as YAML.
        data_path: What `--data` says; replaces `data.path`.
        elsewhere: The recipe is for another machine: paths are that one's, and not looked at here.
        data_here: All but `data.path`, then.

    Returns:
        The recipe, with every path in it absolute.

    Raises:
        UsageError: Anything that is not a valid recipe; the message names file, key, value and remedy.
    """
    path = recipe_path(recipe)
    try:
        values = read_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as e:
        raise UsageError(f"{path}: expected UTF-8, got something else at byte {e.start}; save it so") from e
    except OSError as e:
        raise UsageError(f"{path}: cannot be read: {e.strerror or e}") from e
    except RecipeYamlError as e:
        raise UsageError(f"{path}: cannot be read as YAML: {e}") from e
    if not isinstance(values, dict):
        got = "nothing" if values is None else "a list" if isinstance(values, list) else "a single value"
        raise UsageError(f"{path}: expected keys and values at the top, got {got}")
    options = {_apply_override(values, given): "--set" for given in overrides}
    if data_path is not None:
        section = values["data"] = values.get("data") or {}
        if isinstance(section, dict):
            section["path"] = data_path
        options["data.path"] = "--data"
    folder = os.getcwd() if path.parent == RECIPES else os.path.abspath(path.parent)
    try:
        here = (*PATHS_HERE, "data.path") if data_here else PATHS_HERE
        make_paths_absolute(values, folder, options, here if elsewhere else PATHS)
    except ValueError as e:
        raise UsageError(place(str(path), options, str(e))) from e
    where = f"{path}{take_best(values, list(options))}"
    options.pop("hyperparameters", None)  # the file is named in its place
    return resolve(values, where, elsewhere=elsewhere, options=options)


def resolve(
    values: dict[str, Any],
    where: str,
    *,
    elsewhere: bool = False,
    options: Mapping[str, str] | None = None,
) -> Recipe:
    """A recipe of the values that a file would hold.

    Args:
        values: As YAML gives them; changed in place.
        where: They come from; begins every message about what no option gave.
        elsewhere: As for `load_recipe`.
        options: The option that gave a key, by key; begins the messages about it.

    Raises:
        UsageError: As `load_recipe` does; no secret is in its message.
    """
    options = options or {}

    def refuse(lines: Iterable[str]) -> None:
        if placed := [place(where, options, line) for line in lines]:
            raise UsageError(join(placed, where))

    refuse(odd_values(values))
    try:
        if elsewhere:
            check_paths_elsewhere(values)
        else:
            make_paths_absolute(values, os.getcwd(), options)
        resolved = Recipe.model_validate(values)
    except ValidationError as e:
        refuse(lines_of(e, Recipe))
        raise
    except ValueError as e:
        raise UsageError(place(where, options, str(e))) from e
    refuse(secrets_in(resolved.model_dump(by_alias=True)))
    try:
        if not elsewhere:
            _check_machine(resolved)
        _check_names(resolved)
    except UsageError as e:
        raise UsageError(place(where, options, str(e))) from e
    return resolved


def override(values: dict[str, Any], key: str, value: Any, said: str) -> None:
    """Puts a value into those of a recipe, under a key like `training.epochs`.

    Raises:
        UsageError: There is a single value where the key has more parts; begins with `said`.
    """
    *parents, last = key.strip().split(".")
    target = values
    for parent in parents:
        if target.get(parent) is None:
            target[parent] = {}
        target = target[parent]
        if not isinstance(target, dict):
            raise UsageError(f"{said}: {parent} is a single value and has no keys below it")
    target[last] = value


def _check_names(recipe: Recipe) -> None:
    """Refuses names that nothing has."""
    from components.ingest import source_names

    names = [("data.source", recipe.data.source, source_names())]
    metrics = list(METRICS[recipe.task])
    names += [
        (f"evaluation.{part}", metric, metrics)
        for part in ("thresholds", "max_regression")
        for metric in getattr(recipe.evaluation, part)
    ]
    of_task = {metric: task for task, names_of_task in METRICS.items() for metric in names_of_task}
    for key, name, known in names:
        if known is metrics and of_task.get(name, recipe.task) != recipe.task:
            raise UsageError(
                f"{key}: {name} is for task: {of_task[name]}, and this recipe's task is "
                f"{recipe.task}. Known here: {', '.join(known)}"
            )
        if name not in known:
            raise UsageError(f"{key}: there is no {name!r}{suggest_and_list(name, known)}")


def _check_machine(recipe: Recipe) -> None:
    """Refuses what cannot be run on this machine: files that are not here, packages that are missing."""
    from components.trainer.tracking.installed import check_installed

    check_weights(recipe.model)
    check_installed(recipe.training.tracking)
    _check_warm_start(recipe.training.warm_start)
    check_builder(recipe.model)
    for key, searched in recipe.searched():
        try:
            check_weights(searched.model)
        except UsageError as e:
            raise UsageError(f"{key}: {e}") from e


def _check_warm_start(config: WarmStartConfig | None) -> None:
    """Refuses a local path where nothing is; what it holds is looked at when training starts."""
    if config is None or config.is_latest_blessed or is_remote(config.source):
        return
    # The prefix of a TensorFlow checkpoint is no file itself.
    if not os.path.exists(config.source) and not os.path.exists(f"{config.source}.index"):
        raise UsageError(
            f"training.warm_start.from: there is nothing at {config.source}; give {LATEST_BLESSED}, a pushed "
            "model or the folder of its versions, a .keras or .h5 file, or a TensorFlow checkpoint"
        )


def _apply_override(values: dict[str, Any], given: str) -> str:
    """Puts what `--set` gives into `values`; returns its key."""
    key, equals, text = given.partition("=")
    if not equals or not key.strip():
        raise UsageError(redact(f"--set {given}: expected key.sub=value, e.g. --set training.epochs=3"))
    try:
        value = read_yaml(text)
    except RecipeYamlError as e:
        raise UsageError(redact(f"--set {given[:200]}: the value cannot be read as YAML: {e}")) from e
    override(values, key, value, f"--set {redact(given[:200])}")
    return key.strip()
