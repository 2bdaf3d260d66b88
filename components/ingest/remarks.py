"""What an ingest warns about: data that can be used, and is probably not what was meant."""

from __future__ import annotations

from collections.abc import Mapping

from components.ingest.boxes import BoxCounts
from components.ingest.manifest import Split
from components.ingest.plan import Plan
from schemas import features

_NAMES_SHOWN = 5


def remarks(plan: Plan, splits: Mapping[str, Split], boxes: BoxCounts) -> list[str]:
    """One sentence for everything that is odd about the data; boxes: of all splits."""
    found = []
    if features.TRAIN not in splits:
        found.append(f"There is no {features.TRAIN} split: nothing can be trained on this data.")
    if len(plan.class_names) == 1 and plan.task == features.CLASSIFICATION:
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
        how = "with several sets of boxes" if plan.task == features.DETECTION else "under more than one class"
        found.append(f"{plan.label_conflicts} pictures stand {how}, identical to the byte.")
    if plan.copies.originals:
        found.append(
            f"{plan.copies.images} images are an exporter's copies of {plan.copies.originals} originals (by "
            "their names, x.rf.HASH.jpg): those of one original are carved out of train together."
        )
    found += _about_boxes(boxes)
    twins: dict[str, list[str]] = {}
    for class_name in plan.class_names:
        twins.setdefault(class_name.casefold(), []).append(class_name)
    for same in twins.values():
        if len(same) > 1:
            found.append(f"Classes whose names differ only in upper and lower case: {_shown(same)}.")
    return found


def _about_boxes(boxes: BoxCounts) -> list[str]:
    found = []
    if boxes.left_out:
        found.append(
            f"{len(boxes.left_out)} boxes were left out, and what they show counts as background: the list "
            "of rejects has each."
        )
    if boxes.cut:
        found.append(f"{boxes.cut} boxes reached beyond their picture and were cut at its edge.")
    if boxes.copies:
        found.append(
            f"{boxes.copies} of {boxes.listed} boxes repeat another box of their image, with the same "
            "class and the same sides: they were dropped."
        )
    if boxes.turn_unknown:
        found.append(
            f"{boxes.turn_unknown} images with boxes are turned by EXIF, and nothing says whether their "
            "boxes are of the image as it is seen or as the file holds it: they were read as seen. Compare "
            "some of them with their images."
        )
    if boxes.scaled:
        found.append(
            f"{boxes.scaled} pictures have another size than their annotations say, in the same shape: their "
            "boxes were scaled with them."
        )
    if boxes.empty:
        found.append(f"{boxes.empty} pictures have no box: they are kept, as background.")
    return found


def _shown(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
