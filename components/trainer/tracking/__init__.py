"""Who is told of a training's course, apart from the log: TensorBoard, Weights & Biases, MLflow.

installed.py    refuses a recipe that names what is not there; imports nothing of it
trackers.py     all that a recipe asks for, as one
background.py   a thread of its own for what goes through a network
event_files.py  TensorBoard's files
wandb_run.py    a run of Weights & Biases
mlflow_run.py   a run of MLflow
profile.py      TensorFlow's profiler over some steps
mistakes.py     eval images that the network was wrong about

Nothing is imported that the recipe does not ask for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class About:
    """Which training it is.

    Attributes:
        key: The same for a training that goes on after it was killed, another for any other: a run is found
            by it.
        name: What people see.
        settings: What it was asked to do: nested, keys are names, values plain.
    """

    key: str
    name: str
    settings: Mapping[str, Any]


class Tracker(Protocol):
    """Takes the course of a training."""

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Values of a stage at one of its steps, by name."""
        ...

    def image(self, stage: str, step: int, name: str, image: np.ndarray[Any, Any]) -> None:
        """A picture uint8 [H, W, 3] of a stage at one of its steps."""
        ...

    def graph(self, stage: str, function: Callable[..., Any], *args: Any) -> None:
        """The `tf.function` that does a step of a stage, and what it is called with."""
        ...

    def final(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Values of what a stage ended with, after its last step."""
        ...

    def close(self, error: BaseException | None = None) -> None:
        """The training is over; by `error`, if it did not come to its end."""
        ...
