"""What a task is: data about it, and where its modules are. Imports no TensorFlow.

What has to be computed for a task is in the task's room, in the module with the name of the step that asks:
`part(recipe.task, "evaluator")`. Each step says what it asks for as a Protocol in its own room.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from types import ModuleType

from components.base.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Task:
    """A task as every step sees it.

    Attributes:
        name: The recipe's `task`.
        records: The kind of its records: `schemas/<records>.pbtxt` is their schema, and sources of ingest say
            which kinds they give.
        gives: What a model of it answers, for messages.
        metrics: Overall metrics that a threshold can bound, in the order in which they are reported. A model
            has the first one on any test split.
        more_metrics: Overall metrics that are only reported, after the others.
        class_metrics: Metrics of each class.
        objectives: What the Tuner can search for.
        label: Name of the feature with the labels.
        text: Name of the feature with the class names.
        first_label: Label of the first class.
        min_classes: The fewest classes that a model can tell apart.
        ingest: Options of ingest that its records need, by their names in a recipe's part `data`.
    """

    name: str
    records: str
    gives: str
    metrics: tuple[str, ...]
    more_metrics: tuple[str, ...]
    class_metrics: tuple[str, ...]
    objectives: tuple[str, ...]
    label: str
    text: str
    first_label: int
    min_classes: int
    ingest: Mapping[str, object] = dataclasses.field(default_factory=dict)


# The room of each task: a package with `TASK` and a module for each step that asks it something.
TASKS = {
    "classification": "components.tasks.classification",
    "multilabel": "components.tasks.multilabel",
    "detection": "components.tasks.detection",
}


def task_named(name: str) -> Task:
    """Return what is known about a task.

    Raises:
        UsageError: No task has this name.
    """
    if name not in TASKS:
        raise UsageError(f"task: expected one of {', '.join(TASKS)}, got {name!r}")
    task: Task = importlib.import_module(TASKS[name]).TASK
    return task


def part(name: str, step: str) -> ModuleType:
    """Return the module of a task's room that a step asks, such as `part("detection", "evaluator")`.

    Raises:
        UsageError: No task has this name.
    """
    return importlib.import_module(f"{TASKS[task_named(name).name]}.{step}")
