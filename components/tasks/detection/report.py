"""What a person looks at after an evaluation: figures, curves, errors and pictures. Imports no TensorFlow.

metrics.json            all metrics, overall and by class; null where there is nothing to judge by
precision_recall.json   the curves, by class: precision, and the score that reaches it, at 101 recalls
precision_recall.png    the same drawn, 20 classes a page (-2.png, -3.png, ...)
errors.json             kinds of errors (components.tasks.detection.error_kinds) and the images with errors
errors.png              the kinds drawn
pictures/worst-01.png   labels on the left, what was found on the right: the worst images,
pictures/chosen-01.png  and some that are chosen by their names alone, the same in every evaluation
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from components.pictures.boxes import Box, colour_of, draw_boxes, font
from components.tasks.detection import charts
from components.tasks.detection.coco_eval import IOUS, RECALLS, CocoResult, Detections
from components.tasks.detection.error_kinds import (
    BADLY_PLACED,
    KINDS,
    MISSED,
    NEAR_IOU,
    RIGHT,
    RIGHT_IOU,
    WRONG_CLASS,
    Analysis,
    Found,
    analyse,
    is_shown,
)
from components.tasks.detection.stored import Judged

PICTURES = 8
PANEL_PX = 480
_LISTED_IMAGES = 1000

# Gives the encoded images of some indices.
Pictures = Callable[[Sequence[int]], Mapping[int, bytes]]


@dataclasses.dataclass(frozen=True)
class ImageErrors:
    """What is wrong on one image, at the best scores of the classes."""

    index: int
    found: list[Found]
    counts: Counter[str]
    not_found: list[int]

    @property
    def f1(self) -> float:
        """2 right / (boxes + objects); 1 where there is neither."""
        right = self.counts[RIGHT]
        total = len(self.found) + right + len(self.not_found)
        return 2 * right / total if total else 1.0

    @property
    def errors(self) -> int:
        """How many there are, of any kind."""
        return sum(self.counts[kind] for kind in KINDS)


def errors_by_image(images: Sequence[Detections], analysis: Analysis) -> list[ImageErrors]:
    """Of every image, in their order."""
    shown: list[list[Found]] = [[] for _ in images]
    for each in analysis.found:
        if is_shown(each, analysis.best_scores):
            shown[each.image].append(each)
    result = []
    for index, (image, found) in enumerate(zip(images, shown, strict=True)):
        there = set(np.flatnonzero(~image.difficult).tolist())
        not_found = sorted(there - {each.object for each in found if each.kind == RIGHT})
        counts = Counter(each.kind for each in found)
        near = {each.object for each in found if each.kind in (WRONG_CLASS, BADLY_PLACED)}
        counts[MISSED] = len(set(not_found) - near)
        result.append(ImageErrors(index, found, counts, not_found))
    return result


def worst(images: Sequence[Detections], errors: Sequence[ImageErrors]) -> list[int]:
    """Images with errors, those with the lowest F1 first, of equal ones those with more errors."""
    wrong = [each for each in errors if each.errors]
    wrong.sort(key=lambda each: (each.f1, -each.errors, images[each.index].name))
    return [each.index for each in wrong]


def chosen(images: Sequence[Detections]) -> list[int]:
    """All images in an order that their names alone decide."""
    return sorted(range(len(images)), key=lambda i: hashlib.sha256(images[i].name.encode()).digest())


def write_report(folder: Path, judged: Judged, pictures: Pictures) -> None:
    """Writes all files into `folder`, which must be there.

    Args:
        folder: Where to.
        judged: All of the split.
        pictures: Gives the image files of those that are drawn.
    """
    images, class_names, result = judged.images, judged.class_names, judged.result
    analysis = analyse(images, len(class_names))
    errors = errors_by_image(images, analysis)
    bad, some = worst(images, errors), chosen(images)[:PICTURES]
    _write_json(folder / "metrics.json", _metrics(images, class_names, result))
    _write_json(folder / "precision_recall.json", _curves(class_names, result))
    for number, page in enumerate(charts.precision_recall(_lines(class_names, result), RECALLS), start=1):
        page.save(folder / f"precision_recall{'' if number == 1 else f'-{number}'}.png")
    _write_json(folder / "errors.json", _errors(images, class_names, analysis, [errors[i] for i in bad]))
    _error_chart(analysis).save(folder / "errors.png")
    drawn = {f"worst-{n:02}": i for n, i in enumerate(bad[:PICTURES], start=1)}
    drawn |= {f"chosen-{n:02}": i for n, i in enumerate(some, start=1)}
    (folder / "pictures").mkdir()
    encoded = pictures(sorted(set(drawn.values())))
    for name, index in drawn.items():
        picture = side_by_side(images[index], encoded[index], errors[index], class_names)
        picture.save(folder / "pictures" / f"{name}.png")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in values.items()}


def _metrics(images: Sequence[Detections], class_names: Sequence[str], result: CocoResult) -> dict[str, Any]:
    objects = Counter(int(label) for image in images for label in image.labels[~image.difficult])
    difficult = Counter(int(label) for image in images for label in image.labels[image.difficult])
    return {
        "images": len(images),
        "objects": sum(objects.values()),
        "difficult_objects": sum(difficult.values()),
        "metrics": _numbers(result.metrics),
        "per_class": {
            name: {"objects": objects[k + 1], **_numbers(result.per_class[k])}
            for k, name in enumerate(class_names)
        },
    }


def _curves(class_names: Sequence[str], result: CocoResult) -> dict[str, Any]:
    def of(values: Any) -> list[float | None]:
        return [_number(value) for value in values.tolist()]

    return {
        "recalls": [round(value, 2) for value in RECALLS.tolist()],
        "classes": {
            name: {
                f"{IOUS[i]:.2f}": {
                    "precision": of(result.precision[i, :, k]),
                    "scores": of(result.scores[i, :, k]),
                }
                for i in (0, 5)
            }
            | {"0.50:0.95": {"precision": of(result.precision[:, :, k].mean(axis=0))}}
            for k, name in enumerate(class_names)
        },
    }


def _lines(class_names: Sequence[str], result: CocoResult) -> dict[str, list[tuple[str, Any]]]:
    return {
        name: [
            ("IoU 0.50", result.precision[0, :, k]),
            ("IoU 0.75", result.precision[5, :, k]),
            ("0.50 to 0.95", result.precision[:, :, k].mean(axis=0)),
        ]
        for k, name in enumerate(class_names)
    }


def _errors(
    images: Sequence[Detections], class_names: Sequence[str], analysis: Analysis, bad: Sequence[ImageErrors]
) -> dict[str, Any]:
    return {
        "right_iou": RIGHT_IOU,
        "near_iou": NEAR_IOU,
        "counts": analysis.counts,
        "cost_in_map_50": _numbers(analysis.costs),
        "per_class": {
            name: {"counted_from_score": _number(best), **counts}
            for name, best, counts in zip(
                class_names, analysis.best_scores, analysis.counts_by_class, strict=True
            )
        },
        "images_with_errors": len(bad),
        "images": [
            {
                "image": images[each.index].name,
                "f1": _number(each.f1),
                **{kind: each.counts[kind] for kind in (RIGHT, *KINDS)},
            }
            for each in bad[:_LISTED_IMAGES]
        ],
    }


def _error_chart(analysis: Analysis) -> Image.Image:
    counts = [(_words(kind), float(analysis.counts[kind]), str(analysis.counts[kind])) for kind in KINDS]
    costs = [(_words(kind), analysis.costs[kind], f"{analysis.costs[kind]:+.3f}") for kind in KINDS]
    costs = [(name, 0.0 if math.isnan(value) else value, text) for name, value, text in costs]
    right = analysis.counts[RIGHT]
    return charts.bars(
        f"Errors beside {right} right boxes",
        [("how many, at each class's best score", counts), ("what map_50 gains without them", costs)],
    )


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def side_by_side(
    image: Detections, encoded: bytes, errors: ImageErrors, class_names: Sequence[str]
) -> Image.Image:
    """Labels on the left, boxes found on the right, what is wrong written at them and above.

    Args:
        image: What is there and what was found.
        encoded: The image file.
        errors: What is right and wrong of it.
        class_names: By label - 1.
    """
    with Image.open(io.BytesIO(encoded)) as file:
        picture = file.convert("RGB")
    scale = PANEL_PX / max(picture.size)
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    size = picture.width, picture.height, picture.width, picture.height

    def box(corners: Any, label: int, text: str) -> Box:
        xmin, ymin, xmax, ymax = (float(c) * s for c, s in zip(corners, size, strict=True))
        name = class_names[label - 1]
        return Box((xmin, ymin, xmax, ymax), f"{name}{text}", colour_of(label))

    labelled = []
    for i, (corners, label) in enumerate(zip(image.boxes, image.labels, strict=True)):
        note = " (difficult)" if image.difficult[i] else " (not found)" if i in errors.not_found else ""
        labelled.append(box(corners, int(label), note))
    found = [
        box(
            image.found_boxes[each.index],
            each.label,
            f" {each.score:.2f}" + ("" if each.kind == RIGHT else f" {_words(each.kind)}"),
        )
        for each in errors.found
    ]
    panels = [draw_boxes(picture, labelled), draw_boxes(picture, found)]
    said = ", ".join(
        f"{errors.counts[kind]} {_words(kind)}" for kind in (RIGHT, *KINDS) if errors.counts[kind]
    )
    gap, head = 8, 44
    width = max(sum(panel.width for panel in panels) + 3 * gap, 420)
    sheet = Image.new("RGB", (width, panels[0].height + head + gap), charts.WHITE)
    pen = ImageDraw.Draw(sheet)
    title = charts.cut(pen, f"{image.name}: {said or 'nothing there, nothing found'}", 14, width - 2 * gap)
    pen.text((gap, 4), title, font=font(14), fill=charts.BLACK)
    for i, (panel, what) in enumerate(zip(panels, ("labels", "found"), strict=True)):
        x = gap + i * (panel.width + gap)
        pen.text((x, 24), what, font=font(14), fill=charts.GREY)
        sheet.paste(panel, (x, head))
    return sheet
