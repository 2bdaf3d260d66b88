"""What a person is shown of a task, as data."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ConfusionMatrix:
    """How many images of each class were taken for which.

    Attributes:
        class_names: Of rows and columns alike.
        counts: By true class and predicted class.
    """

    class_names: tuple[str, ...]
    counts: list[list[int]]


@dataclasses.dataclass(frozen=True)
class Roc:
    """A ROC curve; all numbers are finite.

    Attributes:
        fpr: Shares of false positives, 0 to 1, rising.
        tpr: Shares of true positives, 0 to 1, rising.
        thresholds: The probability from which on an image counts as positive, falling; the first one lies
            above all probabilities.
        of: What counts as positive, for people.
    """

    fpr: list[float]
    tpr: list[float]
    thresholds: list[float]
    of: str


@dataclasses.dataclass(frozen=True)
class View:
    """What a person is shown of a task.

    Attributes:
        html: A whole page that loads nothing from elsewhere and runs no script; below 1 MB.
        metrics: Finite numbers by name.
        confusion: Of an Evaluator, on the test split; None with more classes than can be looked at.
        roc: Of an Evaluator, on the test split; at most 100 points.
    """

    html: str
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    confusion: ConfusionMatrix | None = None
    roc: Roc | None = None
