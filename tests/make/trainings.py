"""Small trainings for tests: an easy task, a small network, and `fit` with what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.models import BACKBONE, linear_head
from components.tasks.classification.trainer import Classification
from components.trainer.checkpoints import Checkpoints
from components.trainer.config import TrainingConfig
from components.trainer.fit import fit
from components.trainer.input.examples import ArrayExamples
from components.trainer.run import Run
from components.trainer.strategy import Place
from components.trainer.tracking.trackers import Trackers
from components.trainer.trainee import Trainee

CLASSES = ("lying", "standing")


def make_striped(count: int, seed: int, split: str = "train", *, wrong: int = 0) -> ArrayExamples:
    """Noise [count, 8, 8, 1] with horizontal (0) or vertical (1) stripes; this many labels are wrong."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    stripes = np.broadcast_to(np.arange(8) % 2 * 2.0 - 1, (8, 8))
    images = rng.normal(0, 0.3, (count, 8, 8)) + np.where(labels[:, None, None] == 1, stripes, stripes.T)
    labels[:wrong] = 1 - labels[:wrong]
    return ArrayExamples(split, images[..., np.newaxis].astype(np.float32), labels)


def load_images(examples: ArrayExamples) -> tf.Tensor:
    """All of them, in order."""
    return examples.load(tf.range(examples.num_examples))[0]


def make_network(
    seed: int = 0, *, batch_norm: bool = True, dropout: float = 0.0, classes: int = 2
) -> keras.Model:
    """A convolution, a batch norm with statistics as if it had been trained, and a linear head."""
    if not tf.distribute.has_strategy():  # it would be cleared too
        keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    norm = [layers.BatchNormalization(name="norm")] if batch_norm else []
    backbone = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(6, 3, name="conv"),
            *norm,
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
        ],
        name=BACKBONE,
    )
    if batch_norm:
        backbone.get_layer("norm").moving_mean.assign([0.1] * 6)
        backbone.get_layer("norm").moving_variance.assign([0.5] * 6)
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, linear_head(6, classes, dropout)(backbone(inputs)))


class Course:
    """A tracker that keeps what it receives."""

    def __init__(self) -> None:
        self.points: list[tuple[str, int, dict[str, float]]] = []

    def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        self.points.append((stage, step, dict(values)))

    def image(self, stage: str, step: int, name: str, image: np.ndarray[Any, Any]) -> None:
        pass

    def graph(self, stage: str, function: Callable[..., Any], *args: Any) -> None:
        pass

    def final(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        pass

    def close(self, error: BaseException | None = None) -> None:
        pass

    def epochs(self, key: str) -> list[float]:
        """The values of one curve, by epoch."""
        return [values[f"epoch/{key}"] for _, _, values in self.points if f"epoch/{key}" in values]

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(stage for stage, _, _ in self.points))


def train(
    model: keras.Model,
    config: TrainingConfig,
    folder: Path,
    *,
    train: Any = None,
    evaluation: Any = None,
    pretrained: bool = False,
    place: Place | None = None,
    task: Trainee | None = None,
    show: Any = None,
    whole_size: keras.Model | None = None,
) -> Course:
    """Trains `model` on stripes unless other examples and their task are given, checkpoints in `folder`."""
    course = Course()
    place = place or Place(tf.distribute.get_strategy())
    run = Run(
        task or Classification(CLASSES, config),
        train or make_striped(64, 0),
        evaluation or make_striped(20, 1, "eval"),
        config,
        place,
        Checkpoints(str(folder / "checkpoints"), config.checkpoints, is_chief=place.is_chief),
        Trackers({"course": course}),
        show=show,
    )
    fit(model, run, pretrained=pretrained, whole_size=whole_size)
    return course
