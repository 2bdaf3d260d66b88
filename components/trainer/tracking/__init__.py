"""Where training metrics are sent besides the log: TensorBoard, Weights & Biases, MLflow.

installed.py    refuses a recipe that names a package that is not installed; imports none of them
trackers.py     all trackers that a recipe asks for, as one
background.py   a thread for a tracker that sends over a network
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
    from components.base.arrays import Array


@dataclasses.dataclass(frozen=True)
class About:
    """The identity of a training.

    Attributes:
        key: Equal for a training and its resumption, different for any other training: finds the run.
        name: The name that people see.
        settings: The settings: nested, keys are names, values plain.
    """

    key: str
    name: str
    settings: Mapping[str, Any]


class Tracker(Protocol):
    """Receives the metrics and images of a training."""

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Take values of a stage at one of its steps, by name."""
        ...

    def image(self, stage: str, step: int, name: str, image: Array) -> None:
        """Take an image uint8 [H, W, 3] of a stage at one of its steps."""
        ...

    def graph(self, stage: str, function: Callable[..., Any], *args: Any) -> None:
        """Take the `tf.function` that does a step of a stage, and its arguments."""
        ...

    def final(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Take the values that a stage ended with, after its last step."""
        ...

    def close(self, error: BaseException | None = None) -> None:
        """Close after the training; `error` is what stopped it, if it did not finish."""
        ...
