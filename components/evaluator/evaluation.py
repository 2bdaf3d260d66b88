"""What an evaluation found, and the files in which its folder keeps that. Imports no TensorFlow.

about.json          the recipe's task, and the number of images with mistakes
evaluation.json     the results, so that pages and cards need not read TFMA's files
mistakes.csv        the list of mistakes
draws.json          metrics on the splits that the bootstrap draws
"""

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from components.base import files
from components.base.intervals import Interval, from_json
from components.base.words import format_count, format_some

_ABOUT, _RESULTS, _DRAWS = "about.json", "evaluation.json", "draws.json"
# Class names that a sentence lists.
_FEW = 5


@dataclasses.dataclass(frozen=True)
class CommonClasses:
    """The comparison on the classes that candidate and baseline both know, if they know different ones.

    Attributes:
        class_names: These classes, in the order of the candidate's.
        test_images: Images that were judged: for a classifier those of these classes, for a detector all.
        metrics: The candidate's values of the metrics that can be bound.
        baseline: The baseline's values.
    """

    class_names: list[str]
    test_images: int
    metrics: dict[str, float]
    baseline: dict[str, float]

    def __str__(self) -> str:
        classes = format_count(self.class_names, "common class", "common classes")
        some = format_some(self.class_names, _FEW)
        return f"the {classes} ({some}; {format_count(self.test_images, 'test image')})"


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation.

    Attributes:
        metrics: Overall values by metric name, without metrics that there was nothing to measure on.
        per_class: The task's `class_metrics` by class index, 0 for the first class; None if there was nothing
            to divide by.
        blessed: Whether every bound was met.
        failures: One sentence for every bound that was missed.
        baseline: The baseline's overall values by metric name; empty if there is no baseline, or if it knows
            other classes.
        warnings: One sentence for everything else that users have to know before they trust the model.
        example_count: Images that were judged.
        common: The comparison with a baseline that knows other classes; None without one.
        bounds: The bounds of each metric in words, and as values.
        intervals: 95 % confidence intervals of overall metrics.
        slices: Overall metrics of each slice by its name; empty if the recipe asks for none.
    """

    metrics: dict[str, float]
    per_class: dict[int, dict[str, float | None]]
    blessed: bool
    failures: list[str]
    baseline: dict[str, float] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)
    example_count: int = 0
    common: CommonClasses | None = None
    bounds: dict[str, tuple[str, list[float]]] = dataclasses.field(default_factory=dict)
    intervals: dict[str, Interval] = dataclasses.field(default_factory=dict)
    slices: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)


def write_evaluation(folder: str, found: Evaluation) -> None:
    """Write the results of an evaluation into its folder."""
    files.write_text(os.path.join(folder, _RESULTS), json.dumps(dataclasses.asdict(found)))


def read_stored(folder: str) -> Evaluation | None:
    """Return the results in an evaluation's folder; None for an evaluation of an earlier version."""
    path = os.path.join(folder, _RESULTS)
    if not files.exists(path):
        return None
    found = json.loads(files.read_text(path))
    common = found.pop("common")
    per_class = {int(index): of_class for index, of_class in found.pop("per_class").items()}
    bounds = {name: (words, limits) for name, (words, limits) in found.pop("bounds").items()}
    intervals = from_json(found.pop("intervals", {}))
    return Evaluation(
        **found,
        per_class=per_class,
        bounds=bounds,
        common=CommonClasses(**common) if common else None,
        intervals=intervals,
    )


def write_about(folder: str, task: str, mistakes: int | None) -> None:
    """Write the recipe's task, and the number of images with mistakes, into an evaluation's folder."""
    files.write_text(os.path.join(folder, _ABOUT), json.dumps({"task": task, "mistakes": mistakes}))


def read_task(folder: str) -> str:
    """Return the task of an evaluation, from its folder."""
    return str(_read_about(folder)["task"])


def read_mistakes(folder: str) -> int | None:
    """Return the number of test images with mistakes; None if the task lists none."""
    mistakes = _read_about(folder).get("mistakes")
    return None if mistakes is None else int(mistakes)


def mistakes_path(folder: str) -> str:
    """Return the path of the list of an evaluation's mistakes, a CSV."""
    return os.path.join(folder, "mistakes.csv")


def write_draws(folder: str, draws: Mapping[str, Sequence[float]]) -> None:
    """Write the values of metrics on drawn splits into an evaluation's folder.

    Every evaluation of the same test split draws the same images. So the differences between the values of
    two models, one by one, are those of a paired bootstrap.
    """
    rounded = {
        name: [float(f"{value:.7g}") if math.isfinite(value) else None for value in values]
        for name, values in draws.items()
    }
    files.write_text(os.path.join(folder, _DRAWS), json.dumps(rounded))


def read_draws(folder: str) -> dict[str, list[float]]:
    """Return what `write_draws` wrote; empty for an evaluation without it."""
    path = os.path.join(folder, _DRAWS)
    stored = json.loads(files.read_text(path)) if files.exists(path) else {}
    return {
        name: [math.nan if value is None else value for value in values] for name, values in stored.items()
    }


def _read_about(folder: str) -> dict[str, Any]:
    about: dict[str, Any] = json.loads(files.read_text(os.path.join(folder, _ABOUT)))
    return about
