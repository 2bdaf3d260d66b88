"""Learning rates and optimisers, as recipes name them."""

from typing import Any

import keras

from components.trainer.config import TrainingConfig
from components.trainer.optimizers.config import OptimizerName


def learning_rate(config: TrainingConfig, peak: float, total_steps: int, warmup_steps: int) -> Any:
    """Return the rate over the steps of a stage.

    The first `warmup_steps` rise to `peak` in a line, from 0 on; after them the rate stays, or falls to 0 by
    half a cosine wave (`schedule: cosine`).
    """
    if config.schedule == "constant" and not warmup_steps:
        return peak
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else peak,
        decay_steps=total_steps - warmup_steps,
        # The share of the peak that is left in the end: all of it is a constant rate.
        alpha=1.0 if config.schedule == "constant" else 0.0,
        warmup_target=peak if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


# By the name of a recipe.
_KINDS: dict[OptimizerName, type[keras.optimizers.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
    "adagrad": keras.optimizers.Adagrad,
    "adadelta": keras.optimizers.Adadelta,
    "lion": keras.optimizers.Lion,
    "nadam": keras.optimizers.Nadam,
}


def make_optimizer(config: TrainingConfig, rate: Any) -> keras.optimizers.Optimizer:
    """Return the recipe's optimiser, with its options; weight decay is decoupled in all of them.

    Gradients are cut down by the step (`training.clip_norm`): Keras would measure each replica's own.
    In `mixed_float16` its losses are scaled, so that small gradients do not vanish in 16 bits.
    """
    decay = config.weight_decay or None
    optimizer = _KINDS[config.optimizer](
        rate,
        # By itself Keras would count the optimisers of a process in their names, which checkpoints are read
        # by.
        name=config.optimizer,
        weight_decay=config.weight_decay if config.optimizer == "adamw" else decay,
        **config.optimizer_options.of(config.optimizer),
    )
    if config.weight_decay:
        # Decaying the scale of a normalisation or a bias towards 0 only hurts.
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    if config.precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer, name="loss_scale")
    return optimizer
