"""One stage of a training."""

import dataclasses
from typing import Any

import keras

from components.trainer.augment.changes import Augment
from components.trainer.input.examples import Examples


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a training: which network learns what, for how long and how fast.

    Attributes:
        name: `training`, `head` or `fine-tuning`.
        model: What is trained: the whole network, or its head.
        whole: The network that is saved with every checkpoint; `model` is in it.
        train: What it learns from.
        evaluation: What it is evaluated on after each epoch.
        epochs: Passes over `train`.
        rate: A learning rate, or a schedule over the stage's steps.
        augment: Varies training batches.
        warmup_steps: Steps in which the rate rises.
        is_last: Whether no stage follows.
        evaluated: A network with the same weights for the images of `evaluation`, where these are larger;
            None for `model`.
    """

    name: str
    model: keras.Model
    whole: keras.Model
    train: Examples
    evaluation: Examples
    epochs: int
    rate: Any
    augment: Augment | None = None
    warmup_steps: int = 0
    is_last: bool = True
    evaluated: keras.Model | None = None
