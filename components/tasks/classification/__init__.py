"""Image classification: one class for each image."""

from components.base.task import Task
from schemas import features

TASK = Task(
    name=features.CLASSIFICATION,
    records=features.CLASSIFICATION,
    gives="one class for each image",
    metrics=(
        "accuracy",
        "loss",
        "auc",
        "top_5_accuracy",
        "balanced_accuracy",
        *(
            f"{over}_{name}"
            for over in ("min_class", "macro", "weighted")
            for name in ("precision", "recall", "f1")
        ),
    ),
    more_metrics=("majority_accuracy",),
    class_metrics=("precision", "recall", "f1", "auc"),
    objectives=("eval_accuracy", "eval_loss"),
    label=features.LABEL,
    text=features.LABEL_TEXT,
    first_label=0,
    min_classes=2,
)
