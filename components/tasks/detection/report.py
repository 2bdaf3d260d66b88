"""The report of an evaluation for users: figures, curves, errors and images. Imports no TensorFlow.

metrics.json            all metrics and counts, overall and by class; null if there is nothing to judge by
intervals.json          95 % confidence intervals (components.tasks.detection.confidence)
precision_recall.json   the curves by class: precision, and the score that reaches it, at 101 recalls
errors.json             kinds of errors (components.tasks.detection.error_kinds) and the images with errors
counted.npz             labels of all images, and the boxes that count (components.tasks.detection.stored)
pictures/worst-01.png   the worst images: labels on the left, found boxes on the right
pictures/chosen-01.png  images chosen by their names only, the same in every evaluation

Metrics, counts and curves are those of all images. The rest is of the images that were kept, which are not
all of a large split (components.tasks.detection.sample).
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.base.intervals import to_json
from components.base.table import format_table
from components.tasks.detection.coco_eval import IOUS, RECALLS, CocoResult, Detections
from components.tasks.detection.confidence import find_intervals
from components.tasks.detection.drawing import draw_side_by_side
from components.tasks.detection.error_kinds import (
    KINDS,
    NEAR_IOU,
    RIGHT,
    RIGHT_IOU,
    Analysis,
    Found,
    ImageErrors,
    analyse,
    count_errors,
    is_shown,
)
from components.tasks.detection.stored import Judged, to_bytes

MAX_DRAWN = 8
_LISTED_IMAGES = 1000
# Next to the Evaluator's metrics.
FOLDER, COUNTED = "detection", "counted.npz"

# Returns the encoded images of some indices.
FindImages = Callable[[Sequence[int]], Mapping[int, bytes]]


def group_by_image(images: Sequence[Detections], analysis: Analysis) -> list[ImageErrors]:
    """Return the errors of every image, in the order of the images."""
    shown: list[list[Found]] = [[] for _ in images]
    for each in analysis.found:
        if is_shown(each, analysis.best_scores):
            shown[each.image].append(each)
    return [
        count_errors(index, image, found)
        for index, (image, found) in enumerate(zip(images, shown, strict=True))
    ]


def keep_counted(image: Detections, errors: ImageErrors) -> Detections:
    """Return an image with only the boxes that count.

    Judged again by themselves, they are of the same kinds: no box has a say in the kind of a better one.
    """
    kept = sorted(each.index for each in errors.found)
    found = {name: getattr(image, name)[kept] for name in ("found_boxes", "found_labels", "scores")}
    return dataclasses.replace(image, **found)


def rank_worst(images: Sequence[Detections], errors: Sequence[ImageErrors]) -> list[int]:
    """Return the images with errors, the lowest F1 first, then the most errors."""
    wrong = [each for each in errors if each.errors]
    wrong.sort(key=lambda each: (each.f1, -each.errors, images[each.index].name))
    return [each.index for each in wrong]


def shuffle_by_name(images: Sequence[Detections]) -> list[int]:
    """Return all images in an order that only depends on their names."""
    return sorted(range(len(images)), key=lambda i: hashlib.sha256(images[i].name.encode()).digest())


def write_report(
    folder: Path, judged: Judged, draws: Mapping[str, Sequence[float]], find_images: FindImages
) -> list[ImageErrors]:
    """Write all files into `folder`, which must exist.

    Args:
        folder: The folder.
        judged: The images that were kept, and the metrics of all.
        draws: Metrics on drawn splits.
        find_images: Returns the encoded images to draw.

    Returns:
        The errors of each image that has some, the worst image first.
    """
    images, class_names, result = judged.images, judged.class_names, judged.result
    analysis = analyse(images, len(class_names))
    errors = group_by_image(images, analysis)
    bad, some = rank_worst(images, errors), shuffle_by_name(images)[:MAX_DRAWN]
    _write_json(folder / "metrics.json", _metrics(class_names, result))
    _write_json(folder / "precision_recall.json", _curves(class_names, result))
    _write_json(folder / "intervals.json", to_json(find_intervals(draws)))
    _write_json(folder / "errors.json", _errors(images, class_names, analysis, [errors[i] for i in bad]))
    counted = [keep_counted(image, each) for image, each in zip(images, errors, strict=True)]
    (folder / COUNTED).write_bytes(to_bytes(counted, class_names, result))
    drawn = {f"worst-{n:02}": i for n, i in enumerate(bad[:MAX_DRAWN], start=1)}
    drawn |= {f"chosen-{n:02}": i for n, i in enumerate(some, start=1)}
    (folder / "pictures/").mkdir()
    encoded = find_images(sorted(set(drawn.values())))
    for name, index in drawn.items():
        drawing = draw_side_by_side(images[index], encoded[index], errors[index], class_names)
        drawing.save(folder / "pictures/" / f"{name}.png")
    return [errors[i] for i in bad]


def format_mistakes(images: Sequence[Detections], errors: Sequence[ImageErrors]) -> str:
    """Return images with their numbers of errors by kind as a CSV table."""
    return format_table(
        ("image", "errors", *KINDS, RIGHT, "f1"),
        [
            (
                images[each.index].name,
                each.errors,
                *(each.counts[kind] for kind in (*KINDS, RIGHT)),
                round(each.f1, 6),
            )
            for each in errors
        ],
    )


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def _to_json(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)


def _all_to_json(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _to_json(value) for name, value in values.items()}


def _metrics(class_names: Sequence[str], result: CocoResult) -> dict[str, Any]:
    return {
        "images": result.images,
        "objects": int(result.objects.sum()),
        "difficult_objects": int(result.difficult.sum()),
        "metrics": _all_to_json(result.metrics),
        "per_class": {
            name: {"objects": int(result.objects[k]), **_all_to_json(result.per_class[k])}
            for k, name in enumerate(class_names)
        },
    }


def _curves(class_names: Sequence[str], result: CocoResult) -> dict[str, Any]:
    def of(values: Any) -> list[float | None]:
        return [_to_json(value) for value in values.tolist()]

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


def _errors(
    images: Sequence[Detections], class_names: Sequence[str], analysis: Analysis, bad: Sequence[ImageErrors]
) -> dict[str, Any]:
    return {
        "right_iou": RIGHT_IOU,
        "near_iou": NEAR_IOU,
        "counts": analysis.counts,
        "cost_in_map_50": _all_to_json(analysis.costs),
        "per_class": {
            name: {"counted_from_score": _to_json(best), **counts}
            for name, best, counts in zip(
                class_names, analysis.best_scores, analysis.counts_by_class, strict=True
            )
        },
        "of_images": len(images),
        "images_with_errors": len(bad),
        "images": [
            {
                "image": images[each.index].name,
                "f1": _to_json(each.f1),
                **{kind: each.counts[kind] for kind in (RIGHT, *KINDS)},
            }
            for each in bad[:_LISTED_IMAGES]
        ],
    }
