"""The result of an evaluation during training."""

import dataclasses

from components.base.arrays import Array


@dataclasses.dataclass(frozen=True)
class StageResult:
    """Loss, metrics and predictions of an evaluation during training.

    Attributes:
        loss: Mean over the examples, as in training.
        metrics: By name, without `loss`: the trainee's `metrics`, then what its `judge` gives.
        totals: Sums over the examples of what the trainee's `counts` gives.
        rows: The examples that this process evaluated, int64 [N]; all of them, unless it is one of several.
        predictions: What the trainee's `predict` gives for each of them, [N, ...] by name.
        loss_error: Standard error of `loss`, from how much it differs between examples.
    """

    loss: float
    metrics: dict[str, float]
    totals: dict[str, Array]
    rows: Array
    predictions: dict[str, Array]
    loss_error: float = 0.0
