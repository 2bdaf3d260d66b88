"""Which values a search tries next: KerasTuner's oracles, as the recipe's part `tuner` asks for them."""

from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.hyperparameters import Int

from components.trainer.fields import read_limits
from components.tuner.config import HYPERBAND_FACTOR, TunerConfig


class _Bayesian(keras_tuner.oracles.BayesianOptimizationOracle):
    """KerasTuner's oracle as a function of the seed and the trials so far, also after a kill."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the values of the next trial."""
        # Where the search for the most promising values starts is drawn from this, which is not saved.
        self._random_state = np.random.RandomState(self.seed + len(self.trials))
        answer: dict[str, Any] = super().populate_space(trial_id)
        for field in self.hyperparameters.space:
            # At the upper end, a whole number on a log scale comes out one too high.
            if answer.get("values") and isinstance(field, Int):
                answer["values"][field.name] = min(answer["values"][field.name], field.max_value)
        return answer


def make_space(config: TunerConfig, parts: dict[str, Any]) -> keras_tuner.HyperParameters:
    """Return the searched fields, with the names that they have in recipes."""
    space = keras_tuner.HyperParameters()
    # Values are drawn in this order; in which one the recipe names them does not matter.
    for name, field in sorted(config.fields.items()):
        limits = read_limits(name, field, parts)
        if field.values is not None:
            space.Choice(name, limits)
        elif all(isinstance(end, int) for end in limits):
            space.Int(name, *limits, sampling=field.scale)
        else:
            space.Float(name, *limits, sampling=field.scale)
    return space


def make_oracle(config: TunerConfig, parts: dict[str, Any]) -> keras_tuner.Oracle:
    """Return what chooses the values to try next; equal seeds and results give equal choices."""
    direction = "min" if config.objective.endswith("loss") else "max"
    options = {
        "objective": keras_tuner.Objective(config.objective, direction),
        "hyperparameters": make_space(config, parts),
        # Other fields than these are not asked for.
        "allow_new_entries": False,
        "tune_new_entries": False,
        # 0 would be drawn by chance.
        "seed": parts["training"]["seed"] + 1,
        # One that fails says nothing about the next.
        "max_consecutive_failed_trials": config.trials + 1,
    }
    if config.algorithm == "random":
        return keras_tuner.oracles.RandomSearchOracle(max_trials=config.trials, **options)
    if config.algorithm == "bayesian":
        # KerasTuner's default is 3 a field, which few trials would never get beyond.
        first = min(3 * len(config.fields), max(2, config.trials // 3))
        return _Bayesian(max_trials=config.trials, num_initial_points=first, **options)
    epochs = config.epochs or parts["training"]["epochs"]
    oracle = keras_tuner.oracles.HyperbandOracle(max_epochs=epochs, factor=HYPERBAND_FACTOR, **options)
    # It has no such argument. TFX reads it, and fails on None.
    oracle.max_trials = config.trials
    return oracle
