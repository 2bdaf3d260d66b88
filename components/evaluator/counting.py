"""The parts of a metric for TFMA that counts batches: what tasks with classes for each image share.

With a baseline that knows other classes, both models are also counted over the classes that both know.
"""

from __future__ import annotations

import abc
import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma

from components.base.errors import UsageError
from components.evaluator.bounds import COMMON
from components.evaluator.gathered import MISTAKES, PREDICTIONS
from components.evaluator.metric import COMMON_NAMES, IMAGES, make_key, outputs_of


class ToBatches(tfma.metrics.Preprocessor):  # type: ignore[misc]
    """Takes one model's batch from the extracts of the task's `batches`; a task adds `process`.

    Args:
        metric_name: The metric's name.
        model_name: The model's name.
        names: The candidate's name, then the baseline's if there is one.
        num_classes: Classes of the labels.
    """

    # The task's name, for messages.
    task = ""

    def __init__(self, metric_name: str, model_name: str, names: tuple[str, ...], num_classes: int):
        # TFMA distinguishes the computations of two models by this name.
        super().__init__(name=f"{metric_name}_of_{model_name}")
        self._model_name = model_name
        self._names = names
        self._num_classes = num_classes

    def _read_output(self, predictions: Any, model_name: str, key: str) -> Any:
        outputs = outputs_of(predictions, model_name)
        value = outputs.get(key) if isinstance(outputs, Mapping) else None
        if value is None:
            given = ", ".join(sorted(outputs)) if isinstance(outputs, Mapping) else "one output"
            raise UsageError(
                f"the model's signature serving_tf_examples gives no {key}, but {given}; is it one of a "
                f"recipe with task: {self.task}?"
            )
        return value

    def _read_class_names(self, predictions: Any, model_name: str) -> tuple[str, ...]:
        """Return a model's classes in the order of its probabilities, from its answer to an image."""
        first = np.asarray(self._read_output(predictions, model_name, "labels"))[0]
        return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in first)


@dataclasses.dataclass
class Counts:
    """The counts of one model.

    Attributes:
        mistakes: The images that the candidate got wrong (`components.evaluator.gathered`).
        predictions: The candidate's answers.
        whole: Tally over all classes; None for a baseline with other classes, and if nothing was counted.
        common: Over the common classes; None if the models know the same classes, or were not compared.
        names: The common classes; empty in the same cases.
    """

    mistakes: Any
    predictions: Any
    whole: Any = None
    common: Any = None
    names: tuple[str, ...] = ()

    def merge(self, other: Counts) -> None:
        """Add other counts of the same model."""
        self.names = self.names or other.names
        self.mistakes.merge(other.mistakes)
        self.predictions.merge(other.predictions)
        for field in ("whole", "common"):
            mine, others = getattr(self, field), getattr(other, field)
            if mine is not None and others is not None:
                mine.merge(others)
            else:
                setattr(self, field, mine or others)


class Count(beam.CombineFn, abc.ABC):  # type: ignore[misc]
    """Counts batches, and measures the counts; a task adds `add_input` and what raises here.

    Args:
        model_name: The model's name.
        num_classes: Classes of the labels.
        expected: The number of examples of the split; None if that is not known.
        is_compared: Whether there is a baseline.
        is_baseline: Whether the model is the baseline.
    """

    def __init__(
        self, model_name: str, num_classes: int, expected: int | None, *, is_compared: bool, is_baseline: bool
    ):
        self._model_name = model_name
        self._num_classes = num_classes
        self._expected = expected
        self._is_compared = is_compared
        self._is_baseline = is_baseline

    @abc.abstractmethod
    def _measure(self, tally: Any) -> tuple[dict[str, float], list[dict[str, float | None]]]:
        """Return a tally's overall metrics, and those of each class."""

    @abc.abstractmethod
    def _judge(self, tally: Any) -> dict[Any, Any]:
        """Return values besides the metrics, by their keys, from the counts of all classes."""

    @abc.abstractmethod
    def _list_metric_names(self, num_classes: int) -> Iterable[str]:
        """Return the overall metrics that can be bound."""

    def _is_whole(self, tally: Any) -> bool:
        """Return whether a tally is of the whole split, and not of a slice."""
        return True

    def merge_accumulators(self, accumulators: Iterable[Counts]) -> Counts:
        """Return all counts together."""
        merged: Counts = self.create_accumulator()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def compact(self, accumulator: Counts) -> Counts:
        """Return counts that are small enough to send."""
        for tally in (accumulator.whole, accumulator.common):
            if tally is not None:
                tally.compact()
        return accumulator

    def _make_key(self, name: str, class_id: int | None = None) -> Any:
        return make_key(name, self._model_name, class_id)

    def extract_output(self, accumulator: Counts) -> dict[Any, Any]:
        """Return all values by TFMA's keys."""
        values: dict[Any, Any] = {}
        overall: dict[str, float] = {}
        whole = accumulator.whole
        if whole is not None and whole.count:
            overall, per_class = self._measure(whole)
            values |= {self._make_key(name): value for name, value in overall.items()}
            for class_id, of_class in enumerate(per_class):
                values |= {
                    self._make_key(name, class_id): math.nan if value is None else value
                    for name, value in of_class.items()
                }
            values |= self._judge(whole)
            if accumulator.mistakes.class_names:
                values[self._make_key(MISTAKES)] = accumulator.mistakes.to_bytes()
                values[self._make_key(PREDICTIONS)] = accumulator.predictions.to_bytes()
        if self._is_compared and (overall or accumulator.common is not None):
            values |= self._values_of_common(accumulator, overall)
        return values

    def _values_of_common(self, counts: Counts, overall: dict[str, float]) -> dict[Any, Any]:
        """Return the metrics that `max_regression` compares: for equal classes the overall ones."""
        values: dict[Any, Any] = {}
        if counts.common is not None:
            overall = self._measure(counts.common)[0] if counts.common.count else {}
            values[self._make_key(f"{COMMON}{IMAGES}")] = float(counts.common.count)
            if self._is_whole(counts.common) and not self._is_baseline:
                values[self._make_key(COMMON_NAMES)] = json.dumps(counts.names).encode()
        for name in self._list_metric_names(self._num_classes):
            values[self._make_key(f"{COMMON}{name}")] = overall.get(name, math.nan)
        return values


def compute(
    to_batches: type[ToBatches],
    count: type[Count],
    name: str,
    num_classes: int,
    expected_examples: int | None,
    eval_config: Any,
    model_name: str,
) -> list[tfma.metrics.MetricComputation]:
    """Return TFMA's computations of a metric for one model, from the classes of its task."""
    specs = sorted(eval_config.model_specs, key=lambda spec: bool(spec.is_baseline))
    return [
        tfma.metrics.MetricComputation(
            keys=[],  # there are many; the preprocessor's name distinguishes the computations
            preprocessors=[to_batches(name, model_name, tuple(spec.name for spec in specs), num_classes)],
            combiner=count(
                model_name,
                num_classes,
                expected_examples,
                is_compared=len(specs) > 1,
                is_baseline=any(spec.is_baseline and spec.name == model_name for spec in specs),
            ),
        )
    ]
