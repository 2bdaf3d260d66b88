"""All metrics of classification as one metric of TFMA, from one pass over batches."""

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
from components.tasks.classification.batches import IMAGE_NAMES
from components.tasks.classification.metrics import ByClass, Tally, list_metric_names, measure
from components.tasks.classification.mistakes import MISTAKES, Mistakes
from components.tasks.classification.plots import CONFUSION_MATRIX, ROC, make_confusion_plot, make_roc_plot
from components.tasks.classification.predictions import PREDICTIONS, Predictions, predict
from components.tasks.classification.restrict import restrict
from components.tasks.classification.trivial import judge_trivial


class _Batch(NamedTuple):
    """Labels and one model's probabilities of a batch.

    Attributes:
        is_whole: Whether it is of the whole split, and not of the slice of a class.
        labels: int [N].
        probabilities: float [N, known].
        class_names: Classes of the labels; empty if candidate and baseline know the same classes, or if there
            is no baseline.
        known: Classes of the model, in the order of its probabilities; empty in the same cases.
        common: Classes that both models know; empty in the same cases.
        images: Names of the images: bytes [N]; None for a slice, and for the baseline.
        answers: Classes of the model, in the order of its probabilities; empty in the same cases.
    """

    is_whole: bool
    labels: Any
    probabilities: Any
    class_names: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    common: tuple[str, ...] = ()
    images: Any = None
    answers: tuple[str, ...] = ()


class _ToArrays(tfma.metrics.Preprocessor):  # type: ignore[misc]
    """Takes a `_Batch` from the extracts of `components.tasks.classification.batches`."""

    def __init__(self, metric_name: str, model_name: str, names: tuple[str, ...]):
        # TFMA distinguishes the computations of two models by this name.
        super().__init__(name=f"{metric_name}_of_{model_name}")
        self._model_name = model_name
        self._names = names  # the candidate's name, then the baseline's if there is one

    def process(self, extracts: Any) -> Iterator[_Batch]:
        outputs = extracts[tfma.PREDICTIONS_KEY]
        probabilities = _output(outputs, self._model_name, "probabilities")
        labels = extracts[tfma.LABELS_KEY]
        batch = _Batch(list(extracts[tfma.SLICE_KEY_TYPES_KEY]) == [()], labels, np.asarray(probabilities))
        if batch.is_whole and len(labels) and self._model_name == self._names[0]:
            answers = _class_names(outputs, self._model_name)
            batch = batch._replace(images=extracts[IMAGE_NAMES], answers=answers)
        if len(self._names) == 1 or not len(labels):
            yield batch
            return
        classes = {name: _class_names(outputs, name) for name in self._names}
        (class_names, others), known = classes.values(), classes[self._model_name]
        if set(class_names) == set(others):
            if known != class_names:
                batch = batch._replace(probabilities=batch.probabilities[:, places_of(class_names, known)])
            yield batch
            return
        common = tuple(name for name in class_names if name in set(others))
        yield batch._replace(class_names=class_names, known=known, common=common)


def _output(predictions: Any, model_name: str, key: str) -> Any:
    outputs = outputs_of(predictions, model_name)
    value = outputs.get(key) if isinstance(outputs, Mapping) else outputs
    if value is None:
        raise UsageError(
            f"the model's signature serving_tf_examples gives no {key}, but "
            f"{', '.join(sorted(outputs))}; is it one of a recipe with task: classification?"
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
        return _Counts()  # the first batch says whether it is the whole split

    def add_input(self, accumulator: _Counts, element: _Batch) -> _Counts:
        try:
            if not (self._is_baseline and element.known):
                if accumulator.whole is None:
                    accumulator.whole = Tally(self._num_classes, with_curves=element.is_whole)
                accumulator.whole.add(element.labels, element.probabilities)
            if element.common:
                accumulator.names = element.common
                if accumulator.common is None:
                    accumulator.common = Tally(len(element.common), with_curves=element.is_whole)
                accumulator.common.add(
                    *restrict(
                        element.labels,
                        element.probabilities,
                        element.class_names,
                        element.known,
                        element.common,
                    )
                )
            if element.images is not None:
                names = [name.decode("utf-8", "backslashreplace") for name in element.images]
                answers = element.answers, names, element.labels, element.probabilities
                accumulator.mistakes.add(*answers)
                accumulator.predictions.merge(predict(*answers))
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
        if accumulator.whole is not None and accumulator.whole.images:
            overall, per_class = measure(accumulator.whole)
            if self._num_classes <= 5:
                del overall["top_5_accuracy"]
            values |= self._values_of_all(accumulator.whole, overall, per_class)
            if accumulator.mistakes.class_names:
                values[self._make_key(MISTAKES)] = accumulator.mistakes.to_bytes()
                values[self._make_key(PREDICTIONS)] = accumulator.predictions.to_bytes()
        if self._is_compared and (overall or accumulator.common is not None):
            values |= self._values_of_common(accumulator, overall)
        return values

    def _values_of_all(
        self, tally: Tally, overall: dict[str, float], per_class: list[dict[str, float | None]]
    ) -> dict[Any, Any]:
        values: dict[Any, Any] = {self._make_key(name): value for name, value in overall.items()}
        for class_id, of_class in enumerate(per_class):
            values |= {
                self._make_key(name, class_id): math.nan if value is None else value
                for name, value in of_class.items()
            }
        counts = ByClass.of(tally.confusion(), self._num_classes).rows()
        # Slices have it too, though only the whole split is bound: TFMA refuses a model if it is missing.
        values[self._make_key(BEATS_TRIVIAL)] = judge_trivial(counts)
        if tally.with_curves:  # of the whole split
            check_example_count(tally.images, self._expected)
            values[tfma.metrics.PlotKey(name=CONFUSION_MATRIX, model_name=self._model_name)] = (
                make_confusion_plot(tally)
            )
            values[tfma.metrics.PlotKey(name=ROC, model_name=self._model_name)] = make_roc_plot(tally)
        return values

    def _values_of_common(self, counts: _Counts, overall: dict[str, float]) -> dict[Any, Any]:
        """Return the metrics that `max_regression` compares: for equal classes the overall ones."""
        values: dict[Any, Any] = {}
        if counts.common is not None:
            overall = measure(counts.common)[0] if counts.common.images else {}
            values[self._make_key(f"{COMMON}{IMAGES}")] = float(counts.common.images)
            if counts.common.with_curves and not self._is_baseline:
                values[self._make_key(COMMON_NAMES)] = json.dumps(counts.names).encode()
        for name in list_metric_names(self._num_classes):
            values[self._make_key(f"{COMMON}{name}")] = overall.get(name, math.nan)
        return values


def _computations(
    name: str, num_classes: int, expected_examples: int | None, eval_config: Any, model_name: str
) -> list[tfma.metrics.MetricComputation]:
    specs = sorted(eval_config.model_specs, key=lambda spec: bool(spec.is_baseline))
    return [
        tfma.metrics.MetricComputation(
            keys=[],  # there are many; the preprocessor's name distinguishes the computations
            preprocessors=[_ToArrays(name, model_name, tuple(spec.name for spec in specs))],
            combiner=_Count(
                model_name,
                num_classes,
                expected_examples,
                is_compared=len(specs) > 1,
                is_baseline=any(spec.is_baseline and spec.name == model_name for spec in specs),
            ),
        )
    ]


class ClassificationMetrics(tfma.metrics.Metric):  # type: ignore[misc]
    """The metrics of `components.tasks.classification.metrics.measure` for `serving_tf_examples`.

    It gives the overall metrics by their names, those of each class with a sub key of `class_id`, and for the
    whole split `beats_trivial` (components.evaluator.bounds) and the plots `confusion_matrix` and `roc`. With
    a baseline it also gives the metrics that can be bound over the classes that both know, under names that
    begin with `components.evaluator.bounds.COMMON`. A baseline that knows other classes has only these.

    Args:
        num_classes: Labels are 0 to this - 1.
        expected_examples: The number of examples of the split; None if that is not known.
    """

    def __init__(self, num_classes: int, expected_examples: int | None = None, name: str = "classification"):
        super().__init__(
            tfma.metrics.merge_per_key_computations(_computations),
            name=name,
            num_classes=num_classes,
            expected_examples=expected_examples,
        )
