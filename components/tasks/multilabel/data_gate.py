"""What DataGate asks about multilabel classification: problems of the lists of classes, and their counts.

TFDV checks one feature at a time, so that it does not see that the lists of a record belong together.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

from components.base.example import type_problem
from components.data_gate.protocol import Values
from schemas import features

FACTS = "labels"
FEATURE = features.LABEL
DRAWING = ""


def find_problem(values: Values) -> str | None:
    """Return the first problem of a record's classes; None if there is none."""
    if wrong_type := type_problem(values):
        return wrong_type
    labels, texts = values.get(features.LABEL, []), values.get(features.LABEL_TEXT, [])
    if len(labels) != len(texts):
        return (
            f"{features.LABEL} has {len(labels)} values, and {features.LABEL_TEXT} has {len(texts)}: one for "
            "each class is expected"
        )
    if len(set(labels)) < len(labels):
        repeated = next(label for label in labels if labels.count(label) > 1)
        return f"{features.LABEL} has {repeated} {labels.count(repeated)} times: once is expected"
    return None


@dataclasses.dataclass
class Facts:
    """Counts over records without a problem.

    Attributes:
        images: Records.
        labels: Classes of all images.
        images_by_labels: Images by their number of classes.
        by_class: Images by class.
    """

    images: int = 0
    labels: int = 0
    images_by_labels: Counter[str] = dataclasses.field(default_factory=Counter)
    by_class: Counter[str] = dataclasses.field(default_factory=Counter)

    def add(self, values: Values) -> None:
        """Count a record."""
        names = [text.decode(errors="replace") for text in values.get(features.LABEL_TEXT, [])]
        self.images += 1
        self.labels += len(names)
        self.images_by_labels[str(len(names))] += 1
        self.by_class.update(set(names))

    def merge(self, other: Facts) -> None:
        """Add the counts of another."""
        self.images += other.images
        self.labels += other.labels
        self.images_by_labels.update(other.images_by_labels)
        self.by_class.update(other.by_class)

    def report(self) -> dict[str, Any]:
        """Return the counts as JSON, equal for the same records in any order."""
        return {
            "images": self.images,
            "labels": self.labels,
            "images_by_labels": dict(sorted(self.images_by_labels.items(), key=lambda item: int(item[0]))),
            "by_class": dict(sorted(self.by_class.items())),
        }


def draw(records: Sequence[bytes]) -> bytes | None:
    """Return None: there is nothing to draw on an image."""
    return None
