"""Settings of the Evaluator: the part `evaluation` of a recipe."""

from __future__ import annotations

from pydantic import Field, model_validator

from components.base.settings import Float, NotNegativeFloat, Settings
from components.base.task import TASKS, task_named


class EvaluationConfig(Settings):
    """Bounds that a model must meet on the test split before it is pushed (docs/evaluation.md)."""

    thresholds: dict[str, Float] = Field(
        {},
        description="bounds of the task's metrics on the test split, at least one: upper for loss and "
        "hamming_loss, lower for all others",
    )
    max_regression: dict[str, NotNegativeFloat] = Field(
        {}, description="how much worse than the baseline a metric may be, by metric"
    )
    refuse_trivial: bool = Field(
        True,
        description="whether to refuse a model that is clearly no better than one answer for every image, "
        "or a detector that finds nothing (docs/evaluation.md)",
    )
    slice_by_class: bool = Field(
        False,
        description="whether the overall metrics are also computed by true class, up to 50 classes; not "
        "for multilabel and detection, which always have metrics by class",
    )

    @model_validator(mode="after")
    def _bounds_of_shares_are_shares(self) -> EvaluationConfig:
        shares = {name for task in TASKS for name in task_named(task).metrics} - {"loss"}
        for part, bounds in (("thresholds", self.thresholds), ("max_regression", self.max_regression)):
            for name, bound in bounds.items():
                if name in shares and not 0.0 <= bound <= 1.0:
                    raise ValueError(
                        f"{part}.{name}: expected a share from 0 to 1, got {bound:g}; write 90 % as 0.9"
                    )
        return self
