"""Rules between the parts of a recipe: a value that fits its own part can be wrong with another part.

A rule raises a ValueError whose message begins with the key. Imports no TensorFlow.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from pydantic import ValidationError

from components.base.class_aliases import translate
from components.base.errors import UsageError
from components.base.task import TASKS, part, task_named
from components.base.words import suggest_and_list
from components.evaluator.config import EvaluationConfig
from components.models.config import ModelConfig, check_input, check_normalization, has_any_size
from components.trainer.config import TrainingConfig
from components.trainer.fields import check_searched, put
from components.tuner.config import HYPERBAND_FACTOR, TunerConfig
from pipeline.recipe.recipe import Recipe
from pipeline.recipe.wording import format_errors


class TaskRecipe(Protocol):
    """The module `recipe` of a task's room, which a recipe asks. Imports no TensorFlow."""

    def check(
        self,
        model: ModelConfig,
        training: TrainingConfig,
        tuner: TunerConfig | None,
        evaluation: EvaluationConfig,
    ) -> None:
        """Refuse what the task has no use for.

        Raises:
            ValueError: The message names the key, and what to give instead.
        """
        ...


def check_rules(recipe: Recipe) -> None:
    """Apply all rules.

    Raises:
        ValueError: By the first rule that the recipe breaks; begins with the key.
    """
    for rule in RULES:
        rule(recipe)


def make_searched_recipes(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    """Yield the recipes that the search may make of one, each after the key that asks for it.

    Raises:
        ValueError: A value of the search makes a recipe that is not valid.
    """
    if recipe.tuner is None:
        return
    lengths = recipe.tuner.epochs_of_trials(recipe.training.epochs)
    tried: list[tuple[str, dict[str, Any]]] = [("tuner.epochs", {"training.epochs": n}) for n in lengths]
    # In the trials, and in the Trainer.
    tried += [
        (f"tuner.fields.{name}", {"training.epochs": epochs, name: value})
        for name, field in recipe.tuner.fields.items()
        for value in field.limits
        for epochs in sorted({*lengths, recipe.training.epochs})
    ]
    for key, values in tried:
        try:
            searched = Recipe.model_validate({**put(recipe.model_dump(), values), "tuner": None})
            check_rules(searched)
        except ValueError as e:
            why = "; ".join(format_errors(e, Recipe)) if isinstance(e, ValidationError) else e
            raise ValueError(f"{key}: {list(values.values())[-1]!r} cannot be: {why}") from e
        yield key, searched


def _check_task(recipe: Recipe) -> None:
    asked: TaskRecipe = part(recipe.task, "recipe")
    asked.check(recipe.model, recipe.training, recipe.tuner, recipe.evaluation)


def _check_ingest(recipe: Recipe) -> None:
    needed = task_named(recipe.task).ingest
    for name in {name: None for task in TASKS for name in task_named(task).ingest}:
        wanted = needed.get(name, type(recipe.data).model_fields[name].default)
        if (given := getattr(recipe.data, name)) != wanted:
            raise ValueError(
                f"data.{name}: expected {wanted} for task: {recipe.task}, got {given}; leave it out, since "
                "the task sets it"
            )


def _check_network(recipe: Recipe) -> None:
    model, transform = recipe.model, recipe.transform
    check_input(model, transform.height_px, transform.width_px, transform.channels)
    check_normalization(model, transform.normalization)


def _check_train_px(recipe: Recipe) -> None:
    px, model, transform = recipe.training.train_px, recipe.model, recipe.transform
    if px is None:
        return
    shape = (transform.height_px, transform.width_px, transform.channels)
    if px >= transform.height_px:
        raise ValueError(
            f"training.train_px: expected less than transform.height_px ({transform.height_px}), got {px}; "
            "leave it out to train at that size"
        )
    if not has_any_size(model):
        raise ValueError(
            f"training.train_px: {model.name} has other weights for images of another size: take a network "
            "that averages over the image, such as mobilenet_v2, or leave it out"
        )
    try:
        check_input(model, *recipe.training.train_shape(shape))
    except ValueError as e:
        raise ValueError(f"training.train_px: {px} is too small: {e}") from e


def _check_fine_tuning(recipe: Recipe) -> None:
    warm_start = recipe.training.warm_start
    takes_backbone = warm_start is not None and warm_start.backbone_only
    if recipe.training.fine_tune_epochs and recipe.model.weights is None and not takes_backbone:
        raise ValueError(
            "training.fine_tune_epochs: there is nothing to fine-tune without model.weights, or a "
            "training.warm_start that takes the backbone alone (fine_tune_checkpoint_type: classification or "
            "detection); training.epochs trains all of the network"
        )


def _check_colours(recipe: Recipe) -> None:
    augmentation = recipe.training.augmentation
    if recipe.transform.channels == 1 and (augmentation.saturation or augmentation.hue):
        raise ValueError(
            "training.augmentation: saturation and hue are of colours, and transform.channels is 1: set both "
            "to 0 (brightness, contrast and rand_augment are for gray images too)"
        )


def _check_worker_pods(recipe: Recipe) -> None:
    if recipe.kubeflow.workers is not None and recipe.training.strategy != "multi_worker":
        raise ValueError(
            "kubeflow.workers: these are for training.strategy: multi_worker, got "
            f"{recipe.training.strategy}; leave one out or set the other"
        )


def _check_thresholds(recipe: Recipe) -> None:
    if not recipe.evaluation.thresholds:
        example = f"{{{task_named(recipe.task).metrics[0]}: 0.5}}"
        raise ValueError(
            f"evaluation.thresholds: at least one is needed, e.g. {example}: a model is pushed because it "
            "reached something"
        )


def _check_metrics(recipe: Recipe) -> None:
    known = task_named(recipe.task).metrics
    for bounds in ("thresholds", "max_regression"):
        key = f"evaluation.{bounds}"
        for metric in getattr(recipe.evaluation, bounds):
            if metric in known:
                continue
            if tasks := [task for task in TASKS if metric in task_named(task).metrics]:
                raise ValueError(
                    f"{key}: {metric} is for task: {' or '.join(tasks)}, and this recipe's task is "
                    f"{recipe.task}. Known here: {', '.join(known)}"
                )
            raise ValueError(f"{key}: there is no {metric!r}{suggest_and_list(metric, known)}")


def _check_search(recipe: Recipe) -> None:
    tuner = recipe.tuner
    if tuner is None:
        return
    if recipe.training.strategy == "multi_worker":
        raise ValueError(
            "tuner: a search runs on one machine, and training.strategy is multi_worker: search without it "
            "and give what was found by `hyperparameters`"
        )
    longest = max(tuner.epochs_of_trials(recipe.training.epochs))
    if tuner.algorithm == "hyperband" and longest < HYPERBAND_FACTOR:
        raise ValueError(
            f"tuner.epochs: hyperband gives some trials a third of them, so {HYPERBAND_FACTOR} are the "
            f"least, got {longest}"
        )
    for name in tuner.fields:
        try:
            check_searched(name)
        except ValueError as e:
            raise ValueError(f"tuner.fields: {e}") from e
    for _ in make_searched_recipes(recipe):
        pass


def _check_language(recipe: Recipe) -> None:
    aliases, language = recipe.data.class_names, recipe.about.language
    if language is None:
        return
    try:
        translate("about.language", aliases, list(aliases), language)
    except UsageError as e:
        raise ValueError(str(e)) from e


# In the order in which they are applied.
RULES: tuple[Callable[[Recipe], None], ...] = (
    _check_task,
    _check_ingest,
    _check_network,
    _check_train_px,
    _check_fine_tuning,
    _check_colours,
    _check_worker_pods,
    _check_thresholds,
    _check_metrics,
    _check_search,
    _check_language,
)
