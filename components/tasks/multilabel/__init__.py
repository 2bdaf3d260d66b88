"""Multilabel classification: any number of classes for each image, or none.

A network gives one logit for each class, and a sigmoid makes it a probability. An image gets the label of
each class whose probability reaches the threshold of the class.
"""

from components.base.task import Task
from schemas import features

TASK = Task(
    name=features.MULTILABEL,
    records=features.MULTILABEL,
    gives="any number of classes for each image",
    metrics=(
        "mean_average_precision",
        "macro_f1",
        "micro_f1",
        "subset_accuracy",
        "hamming_loss",
        "loss",
        "auc",
        *(f"{over}_{name}" for over in ("macro", "micro") for name in ("precision", "recall")),
        "min_class_f1",
        "min_class_average_precision",
    ),
    more_metrics=("label_cardinality", "predicted_cardinality"),
    class_metrics=("precision", "recall", "f1", "average_precision", "auc"),
    objectives=("eval_mean_average_precision", "eval_loss"),
    label=features.LABEL,
    text=features.LABEL_TEXT,
    first_label=0,
    min_classes=1,
    ingest={"multilabel": True},
)
