"""All metrics of multilabel classification as one metric of TFMA, from one pass over batches."""

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
from components.tasks.multilabel import TASK
from components.tasks.multilabel.batches import IMAGE_NAMES
from components.tasks.multilabel.metrics import Tally, list_metric_names, measure
from components.tasks.multilabel.mistakes import Mistakes
from components.tasks.multilabel.predictions import Predictions
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


class _ToBatches(ToBatches):
    """Takes a `_Batch` from the extracts of `components.tasks.multilabel.batches`."""

    task = TASK.name

    def process(self, extracts: Any) -> Iterator[_Batch]:
        outputs = extracts[tfma.PREDICTIONS_KEY]
        images = extracts[IMAGE_NAMES]
        if not len(images):
            return
        probabilities, predicted = (
            np.asarray(self._read_output(outputs, self._model_name, key))
            for key in ("probabilities", "predicted")
        )
        classes = {name: self._read_class_names(outputs, name) for name in self._names}
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


class _Count(Count):
    """Counts batches of answers with any number of classes, and measures the counts."""

    _list_metric_names = staticmethod(list_metric_names)
    _measure = staticmethod(measure)

    def create_accumulator(self) -> Counts:
        return Counts(Mistakes(), Predictions())

    def add_input(self, accumulator: Counts, element: _Batch) -> Counts:
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

    def _judge(self, tally: Tally) -> dict[Any, Any]:
        check_example_count(tally.count, self._expected)
        return {self._make_key(BEATS_TRIVIAL): judge_trivial(tally.find_areas())}


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
            tfma.metrics.merge_per_key_computations(partial(compute, _ToBatches, _Count)),
            name=name,
            num_classes=num_classes,
            expected_examples=expected_examples,
        )
