"""The parts of the pages that only detection has."""

import io
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from components.base import files
from components.pages.charts import LINES, Curve, make_line_chart, put_side_by_side
from components.pages.markup import Cell, Html, Measure, make_bar, make_table
from components.pages.page import Page
from components.pages.protocol import Record, Tested
from components.pages.records import embed_thumbnail
from components.pages.tables import show_classes, sort_splits
from components.pictures.thumbnails import to_jpeg
from schemas import features

EXAMPLES_NOTE = "An image counts once for every class on it."
COUNTS_HEADING = "Boxes by split and class"
CURVES = (("map_50", "mAP@.5"), ("class_loss", "Loss of classes"), ("box_loss", "Loss of boxes"))
MISTAKES = (
    "Eval images with missed or false boxes",
    "Detections with a score of at least 0.3; the images with the most mistakes come first.",
)

# Next to the metrics; components/tasks/detection/report.py, which takes longer to import, names it too.
_FOLDER = "detection"
_MEASURES = ("map", "map_50", "map_75", "ar_100")
# Classes with curves of their own, and what is drawn of each.
_MOST_CURVES = 12
_IOUS = {"0.50": "IoU 0.50", "0.75": "IoU 0.75", "0.50:0.95": "mean of 0.50 to 0.95"}
# The images of the worst examples, and of the chosen ones.
_MOST_IMAGES, _IMAGE_PX = 6, 760
# Twice the size at which they are shown, for high-resolution screens.
_THUMBNAIL_PX = 192


def read_classes(record: Record) -> list[str]:
    """Return the classes that are on an image."""
    names = {text.decode("utf-8", "replace") for text in record.get(features.BOX_TEXT, [])}
    return sorted(names) or ["(nothing)"]


def make_thumbnail(page: Page, record: Record, alt: str = "") -> Html:
    """Return a small image of a record with its boxes."""
    from PIL import Image, ImageDraw

    from components.pictures.boxes import colour_of

    with Image.open(io.BytesIO(record[features.ENCODED][0])) as image:
        image.draft("RGB", (_THUMBNAIL_PX, _THUMBNAIL_PX))
        reduced = image.convert("RGB")
    scale = _THUMBNAIL_PX / max(reduced.size)
    reduced = reduced.resize([max(1, round(side * scale)) for side in reduced.size])
    pen = ImageDraw.Draw(reduced)
    boxes = zip(*(record.get(side, []) for side in features.BOX_SIDES), strict=False)
    width, height = reduced.size
    for (xmin, ymin, xmax, ymax), label in zip(boxes, record.get(features.BOX_LABEL, []), strict=False):
        corners = (xmin * width, ymin * height, xmax * width, ymax * height)
        pen.rectangle(corners, outline=colour_of(label), width=3)
    return embed_thumbnail(page, to_jpeg(reduced), "jpeg", "boxed", alt)


def show_statistics(page: Page, examples: Mapping[str, int], stats: Mapping[str, Mapping[str, Any]]) -> None:
    """Add how many boxes there are, and how many an image has."""
    with page.part("Boxes by split"):
        rows: list[list[Cell]] = []
        for split, by_name in stats.items():
            if features.BOX_XMIN not in by_name:
                continue
            common = by_name[features.BOX_XMIN].num_stats.common_stats
            boxes, images = int(common.tot_num_values), examples[split]
            mean = boxes / images if images else None
            rows.append(
                [split, boxes, images - int(common.num_non_missing), mean, int(common.max_num_values)]
            )
        page.add(make_table(["split", "boxes", "images without", "mean per image", "most per image"], rows))


def show_gate(page: Page, folder: str, report: Mapping[str, Any]) -> None:
    """Add the counts of boxes, and the image of some."""
    by_split = {split: report["boxes"][split] for split in sort_splits(report["boxes"])}
    with page.part("Boxes"):
        counts = ("images", "boxes", "difficult")
        rows: list[list[Cell]] = [
            [split, *(found[key] for key in counts)] for split, found in by_split.items()
        ]
        page.add(make_table(["split", *counts], rows))
    for key, heading, words in (
        ("boxes_per_image", "Images by their number of boxes", "boxes"),
        ("areas", "Boxes by their share of the image", "up to"),
        ("sizes", "Boxes by COCO's sizes", "size"),
    ):
        with page.part(heading):
            counted = [found[key] for found in by_split.values()]
            rows = [[name, *(of_split.get(name, 0) for of_split in counted)] for name in _sort_names(counted)]
            page.add(make_table([words, *by_split], rows))
    with page.part(f"Boxes on images of {features.TRAIN}"):
        path = os.path.join(folder, "boxes.png")
        if files.exists(path):
            page.add_image(files.read_bytes(path), "Check that the boxes are where they should be.")


def _sort_names(counted: Sequence[Mapping[str, int]]) -> list[str]:
    """Return the names that any split has: numbers by size, then COCO's sizes."""

    def place(name: str) -> tuple[float, str]:
        try:
            return float(name), ""
        except ValueError:
            return 0.0, str(("small", "medium", "large").index(name))

    return sorted({name for of_split in counted for name in of_split}, key=place)


def show_wrong(page: Page, wrong: Tested, right: Tested, images: Sequence[str]) -> None:
    """Add images with their labels, and the boxes of both models."""
    from components.tasks.detection.page_wrong import show_differences

    show_differences(page, wrong, right, images)


def show_evaluation(page: Page, folder: str, per_class: Mapping[int, Mapping[str, float | None]]) -> None:
    """Add classes, curves, kinds of errors, and images."""
    report = os.path.join(folder, _FOLDER)
    whole = json.loads(files.read_text(os.path.join(report, "metrics.json")))
    page.add_note(
        f"Measured by COCO's rules on {whole['images']:,} images with {whole['objects']:,} objects"
        + (f" and {whole['difficult_objects']:,} difficult ones." if whole["difficult_objects"] else ".")
    )
    with page.part("Classes"):
        objects = {
            index: whole["per_class"].get(name, {}).get("objects")
            for index, name in enumerate(page.class_names)
            if index in per_class
        }
        show_classes(page, per_class, _MEASURES, worst_by="map", counted="objects", counts=objects)
    with page.part("Precision by recall"):
        _show_curves(page, json.loads(files.read_text(os.path.join(report, "precision_recall.json"))))
    with page.part("Errors"):
        _show_errors(page, os.path.join(report, "errors.json"))
    for kind, heading in (("worst", "The worst images"), ("chosen", "Images chosen by name")):
        with page.part(heading):
            shown = _list_drawn(folder, kind)
            page.add_note("Labels on the left, detections on the right." if shown else "There are none.")
            for place, path in enumerate(shown, start=1):
                page.add_image(files.read_bytes(path), f"{heading}, {place} of {len(shown)}", _IMAGE_PX)


def _list_drawn(folder: str, kind: str) -> list[str]:
    """Return the drawings of the worst images, the worst first, or of the chosen ones."""
    paths = files.list_below(os.path.join(folder, _FOLDER, "pictures/"))
    return [path for path in paths if os.path.basename(path).startswith(f"{kind}-")][:_MOST_IMAGES]


def _show_curves(page: Page, stored: Mapping[str, Any]) -> None:
    """Add precision by recall of the first classes."""
    recalls = stored["recalls"]
    charts = []
    for name, by_iou in list(stored["classes"].items())[:_MOST_CURVES]:
        curves = [
            Curve(words, list(zip(recalls, of_iou["precision"], strict=True)), colour)
            for (iou, words), colour in zip(_IOUS.items(), LINES, strict=False)
            if None not in (of_iou := by_iou[iou])["precision"]
        ]
        limits: dict[str, Any] = {"x_range": (0.0, 1.0), "y_range": (0.0, 1.0), "height_in": 3.0}
        charts.append(make_line_chart(page.translate(name), curves, "recall", y_label="precision", **limits))
    page.add(put_side_by_side(charts))
    if len(stored["classes"]) > _MOST_CURVES:
        page.add_note(f"{_MOST_CURVES} of {len(stored['classes']):,} classes.")


def _show_errors(page: Page, path: str) -> None:
    errors = json.loads(files.read_text(path))
    most = max(errors["counts"].values(), default=0) or 1
    rows: list[list[Cell]] = [
        [
            kind.replace("_", " "),
            count,
            make_bar(count / most, "right" if kind == "right" else "wrong"),
            None if (cost := errors["cost_in_map_50"].get(kind)) is None else Measure(cost),
        ]
        for kind, count in errors["counts"].items()
    ]
    page.add(make_table(["kind", "count", "", "cost in map_50"], rows))
    page.add_note(
        f"On {errors['images_with_errors']:,} of {errors['of_images']:,} images, with each class's best "
        "score as the threshold. The cost is the gain in map_50 if all errors of this kind, and no others, "
        "were repaired."
    )
