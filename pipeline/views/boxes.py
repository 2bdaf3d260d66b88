"""What the pages of a detector's nodes have that those of a classifier have not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from components.base import files
from components.pages.page import Cell, Page, table
from components.pages.records import MOST_CLASSES
from pipeline.views.data import place_of
from schemas import features

# Beside the Evaluator's metrics; components/tasks/detection/evaluator.py.
_FOLDER = "detection"
_MEASURES = ("map", "map_50", "map_75", "ar_100")
# Pictures of the worst images, and of the chosen ones.
_PICTURES, _PICTURE_PX = 6, 760


def statistics(page: Page, datasets: Mapping[str, Any], stats: Mapping[str, Mapping[str, Any]]) -> None:
    """Of StatisticsGen: how many boxes there are, and how many an image has."""
    rows: list[list[Cell]] = []
    for split, of in stats.items():
        if features.BOX_XMIN not in of:
            continue
        common = of[features.BOX_XMIN].num_stats.common_stats
        images, with_any = int(datasets[split].num_examples), int(common.num_non_missing)
        boxes = int(common.tot_num_values)
        mean = boxes / images if images else None
        rows.append([split, boxes, images - with_any, mean, int(common.max_num_values)])
    page.add(table(["split", "boxes", "images without", "mean of an image", "most of an image"], rows))


def gate(page: Page, folder: str, report: Mapping[str, Mapping[str, Any]]) -> None:
    """Of DataGate: what it counted of boxes, and its picture of some."""
    splits = sorted(report, key=place_of)
    with page.part("Boxes"):
        rows: list[list[Cell]] = [
            [split, report[split]["images"], report[split]["boxes"], report[split]["difficult"]]
            for split in splits
        ]
        page.add(table(["split", "images", "boxes", "difficult"], rows))
    for key, heading, words in (
        ("boxes_per_image", "Images by their number of boxes", "boxes"),
        ("areas", "Boxes by their share of the image", "up to"),
        ("sizes", "Boxes by COCO's sizes", "size"),
    ):
        with page.part(heading):
            counted = [report[split][key] for split in splits]
            rows = [[name, *(of.get(name, 0) for of in counted)] for name in _in_order(counted)]
            page.add(table([words, *splits], rows))
    with page.part("Boxes on images of train"):
        path = os.path.join(folder, "boxes.png")
        if files.exists(path):
            page.picture(files.read_bytes(path), "Look at it: do boxes lie where they should?")


def _in_order(counted: Sequence[Mapping[str, int]]) -> list[str]:
    """The names that any split has, numbers by size."""

    def place(name: str) -> tuple[float, str]:
        try:
            return float(name), ""
        except ValueError:
            return 0.0, str(("small", "medium", "large").index(name))

    return sorted({name for of in counted for name in of}, key=place)


def is_detection(folder: str) -> bool:
    """Whether an evaluation is a detector's."""
    return files.exists(os.path.join(folder, _FOLDER, "metrics.json"))


def evaluation(
    page: Page, folder: str, per_class: Mapping[int, Mapping[str, float | None]], class_names: Sequence[str]
) -> None:
    """Of the Evaluator: classes, curves, kinds of errors, and pictures."""
    report = os.path.join(folder, _FOLDER)
    whole = _read_json(report, "metrics.json")
    page.note(
        f"Judged by COCO's rules on {whole['images']:,} images with {whole['objects']:,} objects"
        + (f" and {whole['difficult_objects']:,} difficult ones." if whole["difficult_objects"] else ".")
    )
    with page.part("Classes"):
        _classes(page, whole["per_class"], per_class, class_names)
    with page.part("Precision by recall"):
        page.picture(
            _read(report, "precision_recall.png"), "At IoU 0.5, at 0.75, and the mean of 0.5 to 0.95."
        )
    with page.part("Errors"):
        errors = _read_json(report, "errors.json")
        rows: list[list[Cell]] = [
            [kind.replace("_", " "), count, errors["cost_in_map_50"].get(kind)]
            for kind, count in errors["counts"].items()
        ]
        page.add(table(["kind", "how many", "cost in map_50"], rows))
        page.note(
            f"On {errors['images_with_errors']:,} images, from each class's best score on. The cost is what "
            "map_50 would gain if all errors of the kind were repaired and nothing else."
        )
    for kind, heading in (("worst", "The worst images"), ("chosen", "Images chosen by their names")):
        with page.part(heading):
            names = _pictures(files.below(os.path.join(report, "pictures")), kind)
            page.note("Labels left, what was found right." if names else "There are none.")
            for place, name in enumerate(names, start=1):
                page.picture(files.read_bytes(name), f"{place} of {len(names)}", _PICTURE_PX)


def _classes(
    page: Page,
    counted: Mapping[str, Mapping[str, Any]],
    per_class: Mapping[int, Mapping[str, float | None]],
    class_names: Sequence[str],
) -> None:
    indices = list(per_class)
    if len(indices) > MOST_CLASSES:
        indices = sorted(indices, key=lambda index: per_class[index].get("map") or 0.0)[:MOST_CLASSES]
        page.note(f"The {MOST_CLASSES} of {len(per_class):,} classes with the lowest map, lowest first.")
    rows: list[list[Cell]] = []
    for index in indices:
        name = class_names[index] if index < len(class_names) else f"class {index + 1}"
        objects = counted.get(name, {}).get("objects")
        rows.append([name, objects, *(per_class[index].get(key) for key in _MEASURES)])
    page.add(table(["class", "objects", *_MEASURES], rows))


def _pictures(paths: Iterable[str], kind: str) -> list[str]:
    return sorted(path for path in paths if os.path.basename(path).startswith(f"{kind}-"))[:_PICTURES]


def _read(folder: str, name: str) -> bytes:
    return files.read_bytes(os.path.join(folder, name))


def _read_json(folder: str, name: str) -> Any:
    return json.loads(files.read_text(os.path.join(folder, name)))
