"""What a record says of its image, a module for each kind: one class, several classes, or boxes."""

from collections.abc import Mapping
from typing import Any

from components.ingest.truth.boxes import Boxes
from components.ingest.truth.label import Label
from components.ingest.truth.labels import Labels
from components.ingest.truth.truth import Truth

__all__ = ["TRUTHS", "Boxes", "Label", "Labels", "Truth", "truth_of"]

# By task. Boxes come first: their records may also have one class for the whole image. Boxes without classes,
# as in records of ImageNet, do not count.
TRUTHS: Mapping[str, type[Truth]] = {kind.task: kind for kind in (Boxes, Label, Labels)}


def truth_of(values: Mapping[str, list[Any]], wanted: str | None = None) -> type[Truth] | None:
    """Return which kind a record has, by the names of its features; None where it has no class.

    Args:
        values: The features.
        wanted: The kind that is asked for, which decides between kinds of the same features.
    """
    found = next((kind for kind in TRUTHS.values() if {kind.label, kind.text} & values.keys()), None)
    if found is not None and wanted is not None and found.task in TRUTHS[wanted].includes:
        return TRUTHS[wanted]
    return found
