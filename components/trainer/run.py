"""A training as its parts hand it on: what learns, from what, and where."""

import dataclasses
from collections.abc import Callable

from components.base.arrays import Array
from components.trainer.checkpoints import Checkpoints
from components.trainer.config import TrainingConfig
from components.trainer.input.examples import Examples
from components.trainer.strategy import Place
from components.trainer.tracking.trackers import Trackers
from components.trainer.trainee import Trainee
from components.transform.levels import Levels

# (name of a stage, images [N, ...], labels) -> None
Show = Callable[[str, Array, Array], None]


@dataclasses.dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        trainee: What is learned.
        train: What it is learned from.
        evaluation: What each epoch is evaluated on, and early stopping looks at.
        config: The recipe's part `training`.
        place: Where it runs.
        checkpoints: Where it resumes, and what it saves.
        tracker: Follows the training, in addition to the log.
        levels: Those of the images, for an augmentation that changes colours.
        show: Called with the first batch of each stage.
    """

    trainee: Trainee
    train: Examples
    evaluation: Examples
    config: TrainingConfig
    place: Place
    checkpoints: Checkpoints
    tracker: Trackers
    levels: Levels | None = None
    show: Show | None = None
