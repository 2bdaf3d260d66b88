"""What the Evaluator asks a task: module `evaluator` of the task's room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tensorflow_model_analysis.proto import config_pb2

from components.base.intervals import Interval
from components.evaluator.config import EvaluationConfig


class TaskEvaluator(Protocol):
    """The module `evaluator` of a task's room."""

    @property
    def EXTRACTORS(self) -> str | None:  # noqa: N802 - a constant of the module
        """Dotted name of the module with TFMA's extractors, as TFX's `module_path`; None for TFMA's own."""

    @property
    def TRIVIAL(self) -> str:  # noqa: N802
        """The trivial model that every model must beat, for messages."""

    def list_metric_names(self, num_classes: int) -> tuple[str, ...]:
        """Return the overall metrics of a data set with this number of classes that can be bound."""

    def make_eval_config(
        self, config: EvaluationConfig, class_names: Sequence[str], expected_examples: int | None = None
    ) -> config_pb2.EvalConfig:
        """Build TFMA's configuration with the task's metric (`components.evaluator.eval_config`).

        Args:
            config: The recipe's `evaluation` part.
            class_names: All classes, in the order of their labels.
            expected_examples: Images of the test split; None if that is not known. An evaluation of another
                number of images fails.

        Raises:
            UsageError: A bound names a metric that this data set does not have.
        """

    def add_baseline_classes(self, config: config_pb2.EvalConfig, class_names: Sequence[str]) -> None:
        """Tell the metric which classes the baseline knows.

        Args:
            config: The configuration, which is changed.
            class_names: The baseline's classes, in the order of its labels.
        """

    def describe_evidence(self, metrics: Mapping[str, float]) -> str:
        """Return the overall metrics that show whether the model beats the trivial one, as text."""

    def find_warnings(self, metrics: Mapping[str, float]) -> list[str]:
        """Return what users have to know before they trust a model, by its overall metrics."""

    def read_intervals(self, evaluation: str) -> dict[str, Interval]:
        """Return the 95 % confidence intervals of overall metrics that `write_report` wrote, by name."""

    def write_report(self, evaluation: str, files: Sequence[str], model: str) -> int | None:
        """Write files for users into the evaluation's folder, among them the list of mistakes.

        The list is a CSV at `components.evaluator.evaluation.mistakes_path`, the worst images first.

        Args:
            evaluation: The folder, with TFMA's results in it.
            files: The TFRecord files that were evaluated.
            model: The folder of the SavedModel that was evaluated.

        Returns:
            The number of images with mistakes; None if there is no list.
        """
