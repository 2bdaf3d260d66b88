"""Settings of the Tuner: the part `tuner` of a recipe."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from components.base.settings import Float, Positive, Settings
from components.base.task import Task

# Hyperband continues one trial in this many, for this many times the epochs.
HYPERBAND_FACTOR = 3


class SearchField(Settings):
    """Values that the search may give to a field: a range of numbers, or a list."""

    min: Float | None = Field(None, description="least number; with max, null if `values` is given")
    max: Float | None = Field(None, description="largest number; with min, null if `values` is given")
    scale: Literal["linear", "log"] = Field("linear", description="log makes 1 to 10 as likely as 10 to 100")
    values: list[Any] | None = Field(
        None, description="numbers, words or true and false to choose from; null if min and max are given"
    )

    @property
    def limits(self) -> list[Any]:
        """Both ends of the range, whole numbers as int, or all values."""
        if self.values is not None:
            return list(self.values)
        ends = [end for end in (self.min, self.max) if end is not None]
        return [int(end) if end.is_integer() else end for end in ends]

    @model_validator(mode="after")
    def _range_or_list(self) -> SearchField:
        if self.values is not None:
            if not self.values:
                raise ValueError("values: at least one is needed")
            if any(not isinstance(value, bool | int | float | str) for value in self.values):
                raise ValueError(f"values: expected numbers, words or true and false, got {self.values}")
            if (self.min, self.max, self.scale) != (None, None, "linear"):
                raise ValueError("values: give these, or min, max and scale, not both")
        elif self.min is None or self.max is None:
            raise ValueError(
                "min: this and max are needed, or values, e.g. {min: 0.1, max: 0.5} or {values: [1, 2]}; got "
                f"{self.model_dump(exclude_none=True, exclude_defaults=True)}"
            )
        elif self.min >= self.max:
            raise ValueError(f"max: must be above min, got {self.max} and {self.min}")
        elif self.scale == "log" and self.min <= 0:
            raise ValueError(f"scale: log needs a min above 0, got {self.min}")
        return self


class TunerConfig(Settings):
    """A search for better values of fields of `model` and `training`, before the Trainer (docs/tuning.md)."""

    trials: Positive = Field(10, description="most trials, each a training")
    epochs: Positive | None = Field(None, description="most epochs of a trial; null for training.epochs")
    objective: str = Field(
        "eval_accuracy",
        description="metric that the search improves: eval_loss, or eval_accuracy for classification and "
        "eval_map_50 for detection",
    )
    algorithm: Literal["random", "bayesian", "hyperband"] = Field(
        "random",
        description="how values are chosen; hyperband gives few epochs to many trials, and all epochs "
        "only to the best",
    )
    fields: dict[str, SearchField] = Field(
        description="fields to search, by name, e.g. training.learning_rate"
    )

    def epochs_of_trials(self, training_epochs: int) -> set[int]:
        """Return the epochs of the shortest and the longest trial, given those of the Trainer."""
        longest = self.epochs or training_epochs
        shortest = float(longest)
        while self.algorithm == "hyperband" and shortest >= HYPERBAND_FACTOR:
            shortest /= HYPERBAND_FACTOR
        return {math.ceil(shortest), longest}

    @model_validator(mode="after")
    def _something_to_search(self) -> TunerConfig:
        if not self.fields:
            raise ValueError(
                "fields: at least one is needed, e.g. {training.optimizer: {values: [adam, sgd]}}"
            )
        return self


def check_objective(tuner: TunerConfig | None, task: Task) -> None:
    """Refuse an objective that trainings of a task do not measure.

    Raises:
        ValueError: The message names what to take.
    """
    if tuner is not None and tuner.objective not in task.objectives:
        raise ValueError(
            f"tuner.objective: {tuner.objective} is not measured for task: {task.name}; take "
            f"{' or '.join(task.objectives)}"
        )
