"""All metrics of multilabel classification as one metric of TFMA, from one pass over batches."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma

from components.base.common_classes import places_of
from components.base.errors import UsageError
from components.evaluator.bounds import BEATS_TRIVIAL, COMMON
from components.evaluator.metric import COMMON_NAMES, IMAGES, check_example_count, make_key, outputs_of
from components.tasks.multilabel.batches import IMAGE_NAMES
from components.tasks.multilabel.metrics import Tally, list_metric_names, measure
from components.tasks.multilabel.mistakes import MISTAKES, Mistakes
from components.tasks.multilabel.predictions import PREDICTIONS, Predictions
from components.tasks.multilabel.trivial import judge_trivial
from components.tasks.multilabel.truth import make_truth


class _Batch(NamedTuple):
    """Classes and one model's answers of a batch.

    Attributes:
        truth: Whether an image has a class, bool [N, classes].
        predicted: Whether the model predicts it, bool [N, known].
        probabilities: float [N, known].
        class_names: Classes of `truth`.
        known: Classes of the model, in the order of its probabilities.
        common: Classes that both models know; empty if they know the same ones, or if there is no baseline.
        images: Names of the images, bytes [N].
    """

    truth: Any
    predicted: Any
    probabilities: Any
    class_names: tuple[str, ...]
    known: tuple[str, ...]
    common: tuple[str, ...]
    images: Any

    def restrict(self, class_names: tuple[str, ...]) -> tuple[Any, Any, Any]:
        """Return truth, predicted and probabilities of these classes alone, in their order."""
        own, known = (places_of(class_names, of) for of in (self.class_names, self.known))
        return self.truth[:, own], self.predicted[:, known], self.probabilities[:, known]


class _ToArrays(tfma.metrics.Preprocessor):  # type: ignore[misc]
    """Takes a `_Batch` from the extracts of `components.tasks.multilabel.batches`."""

    def __init__(self, metric_name: str, model_name: str, names: tuple[str, ...], num_classes: int):
        # TFMA distinguishes the computations of two models by this name.
        super().__init__(name=f"{metric_name}_of_{model_name}")
        self._model_name = model_name
        self._names = names  # the candidate's name, then the baseline's if there is one
        self._num_classes = num_classes

    def process(self, extracts: Any) -> Iterator[_Batch]:
        outputs = extracts[tfma.PREDICTIONS_KEY]
        images = extracts[IMAGE_NAMES]
        if not len(images):
            return
        probabilities, predicted = (
            np.asarray(_output(outputs, self._model_name, key)) for key in ("probabilities", "predicted")
        )
        classes = {name: _class_names(outputs, name) for name in self._names}
        class_names, known = classes[self._names[0]], classes[self._model_name]
        if len(class_names) != self._num_classes:
            raise UsageError(
                f"the model and the test split have different classes: expected {self._num_classes}, got "
                f"{len(class_names)}"
            )
        common: tuple[str, ...] = ()
        if any(set(others) != set(class_names) for others in classes.values()):
            every = [set(others) for others in classes.values()]
            common = tuple(name for name in class_names if all(name in others for others in every))
        yield _Batch(
            make_truth(extracts[tfma.LABELS_KEY], self._num_classes),
            predicted.astype(bool),
            probabilities,
            class_names,
            known,
            common,
            images,
        )


def _output(predictions: Any, model_name: str, key: str) -> Any:
    outputs = outputs_of(predictions, model_name)
    value = outputs.get(key) if isinstance(outputs, Mapping) else None
    if value is None:
        given = ", ".join(sorted(outputs)) if isinstance(outputs, Mapping) else "one output"
        raise UsageError(
            f"the model's signature serving_tf_examples gives no {key}, but {given}; is it one of a recipe "
            "with task: multilabel?"
        )
    return value


def _class_names(predictions: Any, model_name: str) -> tuple[str, ...]:
    """Return a model's classes in the order of its probabilities, from its answer to an image."""
    first = np.asarray(_output(predictions, model_name, "labels"))[0]
    return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in first)


@dataclasses.dataclass
class _Counts:
    """The counts of one model.

    Attributes:
        whole: Over all classes; None for a baseline that knows other classes, and if nothing was counted.
        common: Over the common classes; None if the models know the same classes, or were not compared.
        names: The common classes; empty in the same cases.
        mistakes: The images that the candidate got wrong.
        predictions: The candidate's answers.
    """

    whole: Tally | None = None
    common: Tally | None = None
    names: tuple[str, ...] = ()
    mistakes: Mistakes = dataclasses.field(default_factory=Mistakes)
    predictions: Predictions = dataclasses.field(default_factory=Predictions)

    def merge(self, other: _Counts) -> None:
        self.names = self.names or other.names
        self.mistakes.merge(other.mistakes)
        self.predictions.merge(other.predictions)
        for field in ("whole", "common"):
            mine, others = getattr(self, field), getattr(other, field)
            if mine is not None and others is not None:
                mine.merge(others)
            else:
                setattr(self, field, mine or others)


class _Count(beam.CombineFn):  # type: ignore[misc]
    """Counts batches, and measures the counts."""

    def __init__(
        self, model_name: str, num_classes: int, expected: int | None, *, is_compared: bool, is_baseline: bool
    ):
        self._model_name = model_name
        self._num_classes = num_classes
        self._expected = expected
        self._is_compared = is_compared
        self._is_baseline = is_baseline

    def create_accumulator(self) -> _Counts:
        return _Counts()

    def add_input(self, accumulator: _Counts, element: _Batch) -> _Counts:
        try:
            if not (self._is_baseline and element.common):
                answers = element.restrict(element.class_names)
                if accumulator.whole is None:
                    accumulator.whole = Tally(self._num_classes)
                accumulator.whole.add(*answers)
                if not self._is_baseline:
                    names = [name.decode("utf-8", "backslashreplace") for name in element.images]
                    accumulator.mistakes.add(element.class_names, names, *answers)
                    accumulator.predictions.merge(Predictions(element.class_names, names, *answers))
            if element.common:
                accumulator.names = element.common
                if accumulator.common is None:
                    accumulator.common = Tally(len(element.common))
                accumulator.common.add(*element.restrict(element.common))
        except ValueError as e:
            raise UsageError(f"the model and the test split have different classes: {e}") from e
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Counts]) -> _Counts:
        merged = _Counts()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def compact(self, accumulator: _Counts) -> _Counts:
        for tally in (accumulator.whole, accumulator.common):
            if tally is not None:
                tally.compact()
        return accumulator

    def _make_key(self, name: str, class_id: int | None = None) -> Any:
        return make_key(name, self._model_name, class_id)

    def extract_output(self, accumulator: _Counts) -> dict[tfma.metrics.MetricKey, Any]:
        values: dict[Any, Any] = {}
        overall: dict[str, float] = {}
        if accumulator.whole is not None:
            check_example_count(accumulator.whole.count, self._expected)
            overall, per_class = measure(accumulator.whole)
            values |= {self._make_key(name): value for name, value in overall.items()}
            for class_id, of_class in enumerate(per_class):
                values |= {
                    self._make_key(name, class_id): math.nan if value is None else value
                    for name, value in of_class.items()
                }
            values[self._make_key(BEATS_TRIVIAL)] = judge_trivial(accumulator.whole.find_areas())
            if not self._is_baseline:
                values[self._make_key(MISTAKES)] = accumulator.mistakes.to_bytes()
                values[self._make_key(PREDICTIONS)] = accumulator.predictions.to_bytes()
        if self._is_compared and (overall or accumulator.common is not None):
            values |= self._values_of_common(accumulator, overall)
        return values

    def _values_of_common(self, counts: _Counts, overall: dict[str, float]) -> dict[Any, Any]:
        """Return the metrics that `max_regression` compares: for equal classes the overall ones."""
        values: dict[Any, Any] = {}
        if counts.common is not None:
            overall = measure(counts.common)[0]
            values[self._make_key(f"{COMMON}{IMAGES}")] = float(counts.common.count)
            if not self._is_baseline:
                values[self._make_key(COMMON_NAMES)] = json.dumps(counts.names).encode()
        for name in list_metric_names(self._num_classes):
            values[self._make_key(f"{COMMON}{name}")] = overall.get(name, math.nan)
        return values


def _computations(
    name: str, num_classes: int, expected_examples: int | None, eval_config: Any, model_name: str
) -> list[tfma.metrics.MetricComputation]:
    specs = sorted(eval_config.model_specs, key=lambda spec: bool(spec.is_baseline))
    names = tuple(spec.name for spec in specs)
    return [
        tfma.metrics.MetricComputation(
            keys=[],  # there are many; the preprocessor's name distinguishes the computations
            preprocessors=[_ToArrays(name, model_name, names, num_classes)],
            combiner=_Count(
                model_name,
                num_classes,
                expected_examples,
                is_compared=len(specs) > 1,
                is_baseline=any(spec.is_baseline and spec.name == model_name for spec in specs),
            ),
        )
    ]


class MultilabelMetrics(tfma.metrics.Metric):  # type: ignore[misc]
    """The metrics of `components.tasks.multilabel.metrics.measure` for `serving_tf_examples`.

    It gives the overall metrics by their names, those of each class with a sub key of `class_id`, and
    `beats_trivial` (components.evaluator.bounds). With a baseline it also gives the metrics that can be bound
    over the classes that both know, under names that begin with `components.evaluator.bounds.COMMON`. A
    baseline that knows other classes has only these.

    Args:
        num_classes: The number of classes.
        expected_examples: The number of examples of the split; None if that is not known.
    """

    def __init__(self, num_classes: int, expected_examples: int | None = None, name: str = "multilabel"):
        super().__init__(
            tfma.metrics.merge_per_key_computations(_computations),
            name=name,
            num_classes=num_classes,
            expected_examples=expected_examples,
        )
