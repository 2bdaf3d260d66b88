"""The stages of a training: all of a network at once, or the head on a frozen backbone, then all of it."""

from __future__ import annotations

import dataclasses
import logging
import time

import keras
import numpy as np
import tensorflow as tf

from components.models import BACKBONE, HEAD
from components.trainer.augment.changes import Augment
from components.trainer.checkpoints import Checkpoints
from components.trainer.config import TrainingConfig
from components.trainer.input import (
    CACHE_MEMORY_SHARE,
    ArrayExamples,
    Examples,
    available_memory_bytes,
    evaluation_batches,
)
from components.trainer.loop import Loop, Show, Stage
from components.trainer.optimizer import learning_rate
from components.trainer.step import batch_size_for, steps_of
from components.trainer.strategy import Place
from components.trainer.tracking.trackers import Trackers
from components.trainer.trainee import Task
from components.transform.levels import Levels

logger = logging.getLogger("mirante.trainer")

TRAINING, HEAD_STAGE, FINE_TUNING = "training", "head", "fine-tuning"


def fit(
    model: keras.Model,
    train: Examples,
    evaluation: Examples,
    config: TrainingConfig,
    task: Task,
    *,
    pretrained: bool,
    place: Place,
    checkpoints: Checkpoints,
    tracker: Trackers,
    levels: Levels | None = None,
    show: Show | None = None,
) -> None:
    """Trains `model` in place, from where the last checkpoint is.

    With a pretrained backbone, `config.epochs` train the head alone; then `config.fine_tune_epochs` train
    everything, batch norms in inference mode (their statistics are the pretrained ones). Without,
    `config.epochs` train everything. The head is trained on features that are computed once where they fit
    into memory, without augmentation where fine-tuning follows; with augmentation and no fine-tuning, and
    of tasks that look at more than one feature vector an image, they are computed anew in every epoch.

    Args:
        model: From `components.models.build_model`, under `place.strategy`.
        train: What it learns from.
        evaluation: What early stopping looks at.
        config: The recipe's `training` part.
        task: What for.
        pretrained: Whether the backbone bears trained weights.
        place: Where it runs.
        checkpoints: Where it goes on, and is kept.
        tracker: What is told of the course.
        levels: Of the images, for an augmentation that changes colours.
        show: Is given each stage's first batch.

    Raises:
        NotLearningError: It was stopped because it learns nothing.
    """
    augment = task.augmenter(config.augmentation, config.seed, levels)
    names = [TRAINING] if not pretrained else [HEAD_STAGE, FINE_TUNING][: 2 if config.fine_tune_epochs else 1]
    former = checkpoints.state()
    if former:
        # Whatever came before has left its mark in the weights.
        checkpoints.restore_weights(model)
        names = names[names.index(former["stage"]) + bool(former["done"]) :]
    for name in names:
        stage = _stage(name, model, train, evaluation, config, task, augment, place)
        stage = dataclasses.replace(stage, is_last=name == names[-1])
        steps, result = Loop(stage, task, config, place, checkpoints, tracker, show).run()
        tracker.stage_over(name, steps, result, evaluation, task)
    checkpoints.finish()


def _stage(
    name: str,
    model: keras.Model,
    train: Examples,
    evaluation: Examples,
    config: TrainingConfig,
    task: Task,
    augment: Augment | None,
    place: Place,
) -> Stage:
    fine_tuning = name == FINE_TUNING
    epochs = config.fine_tune_epochs if fine_tuning else config.epochs
    peak = config.fine_tune_learning_rate if fine_tuning else config.learning_rate
    batch_size = batch_size_for(config, place, train.num_examples)
    total_steps = steps_of(train.num_examples, epochs, batch_size)
    warmup_steps = steps_of(train.num_examples, min(config.warmup_epochs, epochs - 1), batch_size)
    rate = learning_rate(config, peak * config.rate_factor(place.num_replicas), total_steps, warmup_steps)
    part = model
    if name == HEAD_STAGE:
        backbone, part = model.get_layer(BACKBONE), model.get_layer(HEAD)
        backbone.trainable = False
        # Features of images that change with every epoch cannot be kept; a head that is but the start of
        # fine-tuning does without augmentation.
        fixed = task.looks_at_whole_images and (augment is None or config.fine_tune_epochs > 0)
        if fixed and _features_bytes(backbone, train, evaluation) <= (
            CACHE_MEMORY_SHARE * available_memory_bytes()
        ):
            train, evaluation = (_features(backbone, split, batch_size) for split in (train, evaluation))
            augment = None
        else:
            part = model
    elif fine_tuning:
        backbone = model.get_layer(BACKBONE)
        backbone.trainable = True
        for layer in backbone._flatten_layers():  # networks within networks too
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    return Stage(name, part, model, train, evaluation, epochs, rate, augment, warmup_steps)


def _features_bytes(backbone: keras.Model, *splits: Examples) -> int:
    return sum(split.num_examples for split in splits) * int(backbone.output_shape[-1]) * 4


def _features(backbone: keras.Model, split: Examples, batch_size: int) -> Examples:
    """The split's features by the backbone, computed once and held in memory."""
    began = time.monotonic()
    forward = tf.function(lambda images: backbone(images, training=False))
    parts = [forward(images).numpy() for images, _, _ in evaluation_batches(split, batch_size)]
    secs = time.monotonic() - began
    logger.info(
        "%s: backbone features of %s images, once, %.0f images/s, %.1f s",
        split.split,
        f"{split.num_examples:,}",
        split.num_examples / secs,
        secs,
    )
    return ArrayExamples(split.split, np.concatenate(parts)[: split.num_examples], split.labels)
