"""All metrics of classification as one metric of TFMA, from one pass over batches."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow_model_analysis as tfma

from components.base.common_classes import places_of
from components.base.errors import UsageError
from components.evaluator.bounds import BEATS_TRIVIAL
from components.evaluator.counting import Count, Counts, ToBatches, compute
from components.evaluator.metric import check_example_count
from components.tasks.classification import TASK
from components.tasks.classification.batches import IMAGE_NAMES
from components.tasks.classification.metrics import ByClass, Tally, list_metric_names, measure
from components.tasks.classification.mistakes import Mistakes
from components.tasks.classification.plots import CONFUSION_MATRIX, ROC, make_confusion_plot, make_roc_plot
from components.tasks.classification.predictions import Predictions, predict
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


class _ToBatches(ToBatches):
    """Takes a `_Batch` from the extracts of `components.tasks.classification.batches`."""

    task = TASK.name

    def process(self, extracts: Any) -> Iterator[_Batch]:
        outputs = extracts[tfma.PREDICTIONS_KEY]
        probabilities = self._read_output(outputs, self._model_name, "probabilities")
        labels = extracts[tfma.LABELS_KEY]
        batch = _Batch(list(extracts[tfma.SLICE_KEY_TYPES_KEY]) == [()], labels, np.asarray(probabilities))
        if batch.is_whole and len(labels) and self._model_name == self._names[0]:
            answers = self._read_class_names(outputs, self._model_name)
            batch = batch._replace(images=extracts[IMAGE_NAMES], answers=answers)
        if len(self._names) == 1 or not len(labels):
            yield batch
            return
        classes = {name: self._read_class_names(outputs, name) for name in self._names}
        (class_names, others), known = classes.values(), classes[self._model_name]
        if set(class_names) == set(others):
            if known != class_names:
                batch = batch._replace(probabilities=batch.probabilities[:, places_of(class_names, known)])
            yield batch
            return
        common = tuple(name for name in class_names if name in set(others))
        yield batch._replace(class_names=class_names, known=known, common=common)


class _Count(Count):
    """Counts batches of a classifier, and measures the counts."""

    _list_metric_names = staticmethod(list_metric_names)

    def create_accumulator(self) -> Counts:
        return Counts(Mistakes(), Predictions())  # the first batch says whether it is the whole split

    def add_input(self, accumulator: Counts, element: _Batch) -> Counts:
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

    def _is_whole(self, tally: Tally) -> bool:
        return tally.with_curves

    def _measure(self, tally: Tally) -> tuple[dict[str, float], list[dict[str, float | None]]]:
        overall, per_class = measure(tally)
        if self._num_classes <= 5:
            del overall["top_5_accuracy"]
        return overall, per_class

    def _judge(self, tally: Tally) -> dict[Any, Any]:
        counts = ByClass.of(tally.confusion(), self._num_classes).rows()
        # Slices have it too, though only the whole split is bound: TFMA refuses a model if it is missing.
        values: dict[Any, Any] = {self._make_key(BEATS_TRIVIAL): judge_trivial(counts)}
        if self._is_whole(tally):
            check_example_count(tally.count, self._expected)
            for name, plot in ((CONFUSION_MATRIX, make_confusion_plot), (ROC, make_roc_plot)):
                values[tfma.metrics.PlotKey(name=name, model_name=self._model_name)] = plot(tally)
        return values


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
            tfma.metrics.merge_per_key_computations(partial(compute, _ToBatches, _Count)),
            name=name,
            num_classes=num_classes,
            expected_examples=expected_examples,
        )
