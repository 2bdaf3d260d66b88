"""Settings of the Tuner: the part `tuner` of a recipe."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from components.base.settings import Float, Positive, Settings

# Hyperband trains the best of so many trials on, so many times as long.
HYPERBAND_FACTOR = 3


class SearchField(Settings):
    """What a search may give one field: a number between two others, or a value of a list."""

    min: Float | None = None
    max: Float | None = None
    scale: Literal["linear", "log"] = Field("linear", description="log: 1 to 10 as likely as 10 to 100")
    values: list[Any] | None = None

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
    """A search for better values of some fields of `model` and `training`, before the Trainer."""

    trials: Positive = Field(10, description="trainings at most")
    epochs: Positive | None = Field(None, description="of each trial; training.epochs when unset")
    objective: Literal["eval_accuracy", "eval_map_50", "eval_loss"] = Field(
        "eval_accuracy", description="eval_map_50 is a detector's, and eval_accuracy is not"
    )
    algorithm: Literal["random", "bayesian", "hyperband"] = Field(
        "random", description="hyperband gives few epochs to many trials and `epochs` to the best of them"
    )
    fields: dict[str, SearchField] = Field(description="by name, e.g. training.learning_rate")

    def epochs_of_trials(self, training_epochs: int) -> set[int]:
        """How long the shortest and the longest trial train, where the Trainer would so many epochs."""
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
