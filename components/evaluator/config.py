"""Settings of the Evaluator: the part `evaluation` of a recipe."""

from __future__ import annotations

from pydantic import Field, model_validator

from components.base.settings import Float, NotNegativeFloat, Settings

# What Evaluator measures on the test split, and `evaluation.thresholds` bounds, by task; see
# components.evaluator.results.
METRICS: dict[str, tuple[str, ...]] = {
    "classification": (
        "accuracy",
        "loss",
        "auc",
        "top_5_accuracy",
        "balanced_accuracy",
        "min_class_recall",
        *(f"{mean}_{name}" for mean in ("macro", "weighted") for name in ("precision", "recall", "f1")),
    ),
    "detection": ("map", "map_50", "map_75"),
}


class EvaluationConfig(Settings):
    """What a model must reach on the test split before it is pushed."""

    thresholds: dict[str, Float] = Field(
        {}, description="bounds by metric of the task: a lower bound, for loss an upper bound"
    )
    max_regression: dict[str, NotNegativeFloat] = Field(
        {}, description="how much worse than the baseline a metric may be"
    )
    refuse_trivial: bool = Field(
        True,
        description="refuse a model that is clearly no better than one class for every image, and a "
        "detector that finds nothing (docs/evaluation.md)",
    )
    slice_by_class: bool = Field(
        False,
        description="the overall metrics by true class too, up to 50 classes; not for detection, which has "
        "metrics by class anyway",
    )

    @model_validator(mode="after")
    def _bounds_of_shares_are_shares(self) -> EvaluationConfig:
        shares = {name for names in METRICS.values() for name in names} - {"loss"}
        for part, bounds in (("thresholds", self.thresholds), ("max_regression", self.max_regression)):
            for name, bound in bounds.items():
                if name in shares and not 0.0 <= bound <= 1.0:
                    raise ValueError(
                        f"{part}.{name}: expected a share from 0 to 1, got {bound:g}; write 90 % as 0.9"
                    )
        return self
