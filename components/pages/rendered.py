"""A finished page, as data: its HTML, and the numbers that Kubeflow's UI shows next to it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ConfusionMatrix:
    """The number of images of each class that were taken for each class.

    Attributes:
        class_names: The names of both rows and columns.
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
        thresholds: The probabilities from which an image counts as positive, falling; the first one is above
            all probabilities.
        of: The class that counts as positive, in words.
    """

    fpr: list[float]
    tpr: list[float]
    thresholds: list[float]
    of: str


@dataclasses.dataclass(frozen=True)
class RenderedPage:
    """The page of a node.

    Attributes:
        html: A whole page that loads nothing from elsewhere and runs no script; below 1 MB.
        metrics: Finite numbers by name.
        confusion: The confusion matrix on the test split; None where there is none, or too many classes.
        roc: The ROC curve on the test split, at most 100 points; None where there is none.
    """

    html: str
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    confusion: ConfusionMatrix | None = None
    roc: Roc | None = None
