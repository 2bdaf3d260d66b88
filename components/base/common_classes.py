"""Classes that two models both know, matched by name. Imports no TensorFlow.

The position of a class among a model's outputs depends on the model's other classes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from components.base.task import task_named

if TYPE_CHECKING:
    import numpy.typing as npt


def find_common(task: str, class_names: Sequence[str], others: Collection[str]) -> tuple[str, ...]:
    """Return the classes that both know, in the order of `class_names`; none if too few to compare."""
    known = set(others)
    common = tuple(name for name in class_names if name in known)
    return common if len(common) >= task_named(task).min_classes else ()


def places_of(names: Sequence[str], among: Sequence[str]) -> npt.NDArray[Any]:
    """Return the place of each name in `among`, int64 [names], -1 where it is not there."""
    import numpy as np

    places = {name: place for place, name in enumerate(among)}
    return np.array([places.get(name, -1) for name in names], np.int64)
