"""Fitting, on one device: first the head on a frozen pretrained backbone, then, if asked, all of it."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.config import TrainingConfig
from components.models import BACKBONE, HEAD
from components.trainer.augment import augmenter
from components.trainer.input import CACHE_MEMORY_SHARE, SplitInput, available_memory_bytes

logger = logging.getLogger("mirante.trainer")


class ProgressLines(keras.callbacks.Callback):
    """One line an epoch that a person can read."""

    def __init__(self, stage: str, num_examples: int):
        super().__init__()
        self._stage = stage
        self._num_examples = num_examples
        self._began = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Takes the time."""
        self._began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the line; images/s includes the eval pass."""
        secs = time.monotonic() - self._began
        values = logs or {}
        logger.info(
            "%s epoch %d/%d: loss %.4f, accuracy %.4f, eval loss %.4f, eval accuracy %.4f, %.0f images/s, "
            "%.1f s",
            self._stage,
            epoch + 1,
            self.params["epochs"],
            values.get("loss", math.nan),
            values.get("accuracy", math.nan),
            values.get("val_loss", math.nan),
            values.get("val_accuracy", math.nan),
            self._num_examples / secs,
            secs,
        )


def learning_rate(config: TrainingConfig, peak: float, epochs: int, steps_per_epoch: int) -> Any:
    """The rate itself, or a cosine schedule down to 0 with a linear warm-up, over all steps."""
    if config.schedule == "constant":
        return peak
    warmup_steps = min(config.warmup_epochs, epochs - 1) * steps_per_epoch
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else peak,
        decay_steps=epochs * steps_per_epoch - warmup_steps,
        warmup_target=peak if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


def make_optimizer(config: TrainingConfig, rate: Any) -> keras.optimizers.Optimizer:
    """The recipe's optimiser; SGD has Nesterov momentum 0.9, weight decay is decoupled in all three."""
    decay = config.weight_decay or None
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=decay)
    elif config.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
    else:
        optimizer = keras.optimizers.Adam(rate, weight_decay=decay)
    if config.weight_decay:
        # Decaying the scale of a normalisation or a bias towards 0 only hurts.
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def make_loss(config: TrainingConfig) -> Any:
    """Cross-entropy of logits `[N, classes]` against labels int `[N]`, smoothed as the recipe says."""
    if not config.label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def smoothed(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        one_hot = tf.one_hot(tf.cast(tf.reshape(labels, (-1,)), tf.int32), tf.shape(logits)[-1])
        return keras.losses.categorical_crossentropy(
            one_hot, logits, from_logits=True, label_smoothing=config.label_smoothing
        )

    return smoothed


def _run_stage(
    stage: str,
    model: keras.Model,
    train: tf.data.Dataset,
    evaluation: tf.data.Dataset,
    num_examples: int,
    config: TrainingConfig,
    *,
    epochs: int,
    peak_rate: float,
    log_dir: str,
) -> None:
    steps_per_epoch = math.ceil(num_examples / config.global_batch_size)
    rate = learning_rate(config, peak_rate, epochs, steps_per_epoch)
    model.compile(
        optimizer=make_optimizer(config, rate),
        loss=make_loss(config),
        metrics=["accuracy"],
        # Keras would compile with XLA wherever it can. On a CPU that halves the speed of small convolutions
        # (LeNet on two cores: 860 images/s with it, 1,840 without).
        jit_compile=bool(tf.config.list_physical_devices("GPU")),
    )
    callbacks: list[keras.callbacks.Callback] = [
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.TensorBoard(f"{log_dir}/{stage}", write_graph=False),
        ProgressLines(stage, num_examples),
    ]
    if config.patience_epochs:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                monitor="val_loss", patience=config.patience_epochs, restore_best_weights=True
            )
        )
    model.fit(
        train,
        validation_data=evaluation,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        callbacks=callbacks,
        verbose=0,
    )


def _features(backbone: keras.Model, split: SplitInput, batch_size: int) -> tf.data.Dataset:
    """The split's `(features, label)`, unbatched, computed once and held in memory."""
    began = time.monotonic()
    forward = tf.function(lambda images: backbone(images, training=False))
    parts, labels = [], []
    for images, label in split.batches(batch_size):
        parts.append(forward(images).numpy())
        labels.append(label.numpy())
    secs = time.monotonic() - began
    logger.info(
        "%s: backbone features of %s images, once, %.0f images/s, %.1f s",
        split.split,
        f"{split.num_examples:,}",
        split.num_examples / secs,
        secs,
    )
    return tf.data.Dataset.from_tensor_slices((np.concatenate(parts), np.concatenate(labels)))


def fit(
    model: keras.Model,
    train: SplitInput,
    evaluation: SplitInput,
    config: TrainingConfig,
    *,
    pretrained: bool,
    log_dir: str,
) -> None:
    """Trains `model` in place.

    With a pretrained backbone, `config.epochs` train the head alone; then `config.fine_tune_epochs` train
    everything, batch norms in inference mode (their statistics are the pretrained ones). Without,
    `config.epochs` train everything. The head is trained on features that are computed once where they fit
    into memory, without augmentation where fine-tuning follows; with augmentation and no fine-tuning they
    are computed anew in every epoch.

    Args:
        model: From `components.models.build_model`.
        train: What it learns from.
        evaluation: What early stopping looks at.
        config: The recipe's `training` part.
        pretrained: Whether the backbone bears trained weights.
        log_dir: TensorBoard's, one folder a stage.
    """
    size = config.global_batch_size

    def stage(name: str, part: keras.Model, data: Any, eval_data: Any, epochs: int, peak_rate: float) -> None:
        _run_stage(
            name,
            part,
            data,
            eval_data,
            train.num_examples,
            config,
            epochs=epochs,
            peak_rate=peak_rate,
            log_dir=log_dir,
        )

    augment = augmenter(config.augmentation, config.seed)
    shuffled = train.training_batches(size, config.seed, augment)
    if not pretrained:
        stage("training", model, shuffled, evaluation.batches(size), config.epochs, config.learning_rate)
        return
    backbone, head = model.get_layer(BACKBONE), model.get_layer(HEAD)
    backbone.trainable = False
    examples = train.num_examples + evaluation.num_examples
    features_bytes = examples * backbone.output_shape[-1] * 4
    # Features of images that change with every epoch cannot be kept; a head that is but the start of
    # fine-tuning does without augmentation.
    fixed = augment is None or config.fine_tune_epochs > 0
    if fixed and features_bytes <= CACHE_MEMORY_SHARE * available_memory_bytes():
        head_train = _features(backbone, train, size).shuffle(train.num_examples, seed=config.seed)
        head_eval = _features(backbone, evaluation, size).batch(size)
        stage("head", head, head_train.batch(size).repeat(), head_eval, config.epochs, config.learning_rate)
    else:
        stage("head", model, shuffled, evaluation.batches(size), config.epochs, config.learning_rate)
    if config.fine_tune_epochs:
        backbone.trainable = True
        for layer in backbone.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
        stage(
            "fine-tuning",
            model,
            shuffled,
            evaluation.batches(size),
            config.fine_tune_epochs,
            config.fine_tune_learning_rate,
        )
