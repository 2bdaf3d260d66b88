"""What an ingest warns about: data that can be used, and is probably not what was meant."""

from __future__ import annotations

from collections.abc import Mapping

from components.ingest.manifest import Split
from components.ingest.plan import Plan
from schemas import features

_NAMES_SHOWN = 5


def remarks(plan: Plan, splits: Mapping[str, Split]) -> list[str]:
    """One sentence for everything that is odd about the data."""
    found = []
    if features.TRAIN not in splits:
        found.append(f"There is no {features.TRAIN} split: nothing can be trained on this data.")
    if len(plan.class_names) == 1:
        found.append(f"There is only one class, {plan.class_names[0]!r}: there is nothing to tell apart.")
    for name, split in splits.items():
        empty = [class_name for class_name, images in split.class_counts.items() if not images]
        if empty:
            found.append(
                f"{len(empty)} of {len(plan.class_names)} classes have no picture in {name}: {_shown(empty)}."
            )
    if plan.cross_split_duplicates:
        found.append(
            f"{plan.cross_split_duplicates} pictures stand in more than one split, identical to the byte: "
            "what is "
            "measured on them is too good."
        )
    if plan.label_conflicts:
        found.append(
            f"{plan.label_conflicts} pictures stand under more than one class, identical to the byte."
        )
    twins: dict[str, list[str]] = {}
    for class_name in plan.class_names:
        twins.setdefault(class_name.casefold(), []).append(class_name)
    for same in twins.values():
        if len(same) > 1:
            found.append(f"Classes whose names differ only in upper and lower case: {_shown(same)}.")
    return found


def _shown(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
