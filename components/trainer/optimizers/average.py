"""An exponential moving average of the weights: less noisy than the weights of any one step.

It follows the trained weights and the statistics of batch norms that are trained, which belong to them.

Source: Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992; the rising decay of
the first steps is that of TensorFlow's ExponentialMovingAverage.
"""

import contextlib
import logging
import math
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from components.trainer.optimizers.config import EmaConfig
from components.trainer.result import StageResult

logger = logging.getLogger("mirante.trainer")


class MovingAverage:
    """The average of the weights of one stage.

    Args:
        model: What is trained; create the average under the strategy of its variables.
        config: The recipe's part `training.ema`.
    """

    def __init__(self, model: keras.Model, config: EmaConfig):
        self._config = config
        statistics = [
            variable
            for layer in model._flatten_layers()  # networks within networks too
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
            for variable in layer.non_trainable_variables
        ]
        self._followed = [*model.trainable_variables, *statistics]
        # Each replica follows its own statistics, as its batch norms do; what is read is their mean.
        self._averages = [
            tf.Variable(
                tf.identity(variable.value),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.MEAN,
            )
            for variable in self._followed
        ]

    @property
    def variables(self) -> dict[str, tf.Variable]:
        """The average of each variable, by the variable's number, for checkpoints."""
        return {f"{number:04}": average for number, average in enumerate(self._averages)}

    def update(self, steps: tf.Variable) -> None:
        """Move the average towards the weights, in a replica's step.

        Args:
            steps: Counts the steps that were done before this one.
        """
        done = tf.cast(steps, tf.float32)
        left = 1.0 - tf.minimum(self._config.decay, (1.0 + done) / (10.0 + done))
        for average, variable in zip(self._averages, self._followed, strict=True):
            average.assign_add(left * (tf.convert_to_tensor(variable.value) - average))

    def evaluate(self, evaluate: Callable[[], StageResult], stage: str) -> tuple[StageResult, bool]:
        """Evaluate the weights and the average as the recipe asks.

        Args:
            evaluate: Evaluates the weights that the model has.
            stage: The stage's name, for the log.

        Returns:
            The evaluation to go by, and whether it is the average's.
        """
        if self._config.use == "always":
            with self.in_place():
                return evaluate(), True
        trained = evaluate()
        with self.in_place():
            averaged = evaluate()
        logger.info(
            "%s: eval loss %.4f, with the moving average of the weights %.4f",
            stage,
            trained.loss,
            averaged.loss,
        )
        is_average = averaged.loss < trained.loss or math.isnan(trained.loss)
        return (averaged if is_average else trained), is_average

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the model the average's weights for as long as this lasts."""
        trained = [tf.identity(variable.value) for variable in self._followed]
        self.adopt()
        try:
            yield
        finally:
            for variable, value in zip(self._followed, trained, strict=True):
                variable.assign(value)

    def adopt(self) -> None:
        """Give the model the average's weights."""
        for variable, average in zip(self._followed, self._averages, strict=True):
            variable.assign(tf.identity(average))
