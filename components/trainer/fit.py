"""The stages of a training: the whole network at once, or the head on a frozen backbone, then everything."""

import logging
import time

import keras
import numpy as np
import tensorflow as tf

from components.models import BACKBONE, HEAD
from components.trainer.augment.changes import Augment
from components.trainer.augment.smaller import make_shrinker
from components.trainer.input.batches import batch_size_for, evaluation_batches
from components.trainer.input.examples import (
    CACHE_MEMORY_SHARE,
    ArrayExamples,
    Examples,
    available_memory_bytes,
)
from components.trainer.loop import Loop
from components.trainer.optimizers.make import learning_rate
from components.trainer.run import Run
from components.trainer.stage import Stage
from components.trainer.step import copy_weights, count_steps

logger = logging.getLogger("mirante.trainer")

TRAINING, HEAD_STAGE, FINE_TUNING = "training", "head", "fine-tuning"
# Images of a stage that is given features.
_MOST_SHOWN = 36


def fit(model: keras.Model, run: Run, *, pretrained: bool, whole_size: keras.Model | None = None) -> None:
    """Train `model` in place, from its last checkpoint on.

    With a pretrained backbone, `epochs` train the head alone; then `fine_tune_epochs` train everything, with
    batch norms in inference mode (their statistics are the pretrained ones). Without one, `epochs` train
    everything. The head is trained on features that are computed once where they fit into memory, without
    augmentation where fine-tuning follows. With augmentation and no fine-tuning, and for trainees that look
    at more than one feature vector per image, features are computed anew in every epoch.

    Args:
        model: From `components.models.build_model`, under `run.place.strategy`.
        run: The training.
        pretrained: Whether the backbone has trained weights.
        whole_size: If `model` is for smaller images (`training.train_px`), the network for those of the run;
            it gets the trained weights too.

    Raises:
        NotLearningError: The training was stopped because it learns nothing.
    """
    config = run.config
    augment = run.trainee.make_augmenter(config.augmentation, config.seed, run.levels)
    names = [TRAINING] if not pretrained else [HEAD_STAGE, FINE_TUNING][: 2 if config.fine_tune_epochs else 1]
    former = run.checkpoints.state()
    if former:
        # What the stages before it learned is in the weights.
        run.checkpoints.restore_weights(model)
        names = names[names.index(former["stage"]) + bool(former["done"]) :]
    for name in names:
        stage = _make_stage(name, model, run, augment, whole_size, is_last=name == names[-1])
        steps, result = Loop(stage, run).run()
        run.tracker.stage_over(name, steps, result, run.evaluation, run.trainee)
    if whole_size is not None:
        copy_weights(model, whole_size)
    run.checkpoints.finish()


def _make_stage(
    name: str,
    model: keras.Model,
    run: Run,
    augment: Augment | None,
    whole_size: keras.Model | None,
    *,
    is_last: bool,
) -> Stage:
    config, place, train, evaluation = run.config, run.place, run.train, run.evaluation
    fine_tuning = name == FINE_TUNING
    epochs = config.fine_tune_epochs if fine_tuning else config.epochs
    peak = config.fine_tune_learning_rate if fine_tuning else config.learning_rate
    batch_size = batch_size_for(config, place, train.num_examples)
    total_steps = count_steps(train.num_examples, epochs, batch_size)
    warmup_steps = count_steps(train.num_examples, min(config.warmup_epochs, epochs - 1), batch_size)
    rate = learning_rate(config, peak * config.rate_factor(place.num_replicas), total_steps, warmup_steps)
    part, evaluated = model, whole_size
    if name == HEAD_STAGE:
        backbone, part = model.get_layer(BACKBONE), model.get_layer(HEAD)
        backbone.trainable = False
        # Features of images that change with every epoch cannot be kept; a head that is only the start of
        # fine-tuning does without augmentation.
        fixed = run.trainee.looks_at_whole_images and (augment is None or config.fine_tune_epochs > 0)
        if fixed and _features_bytes(backbone, train, evaluation) <= (
            CACHE_MEMORY_SHARE * available_memory_bytes()
        ):
            _show_some(name, run, train)
            evaluated = None
            if whole_size is not None:
                # Features take one pass, so they are of the whole size, as they are served.
                copy_weights(model, whole_size)
                backbone = whole_size.get_layer(BACKBONE)
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
    if evaluated is not None:
        augment = make_shrinker(augment, *model.input_shape[1:3])
    return Stage(
        name, part, model, train, evaluation, epochs, rate, augment, warmup_steps, is_last, evaluated
    )


def _show_some(stage: str, run: Run, split: Examples) -> None:
    """Show some images of a split, where a stage has features in its batches instead of images."""
    if run.show and run.place.is_chief:
        rows = np.unique(np.linspace(0, split.num_examples - 1, _MOST_SHOWN).astype(np.int64))
        images, labels = split.load(tf.constant(rows))
        run.show(stage, images.numpy(), labels.numpy())


def _features_bytes(backbone: keras.Model, *splits: Examples) -> int:
    return sum(split.num_examples for split in splits) * int(backbone.output_shape[-1]) * 4


def _features(backbone: keras.Model, split: Examples, batch_size: int) -> Examples:
    """Compute a split's features by the backbone, once, and hold them in memory."""
    began = time.monotonic()
    forward = tf.function(lambda images: backbone(images, training=False), autograph=False)
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
