"""Predictions of a detector as labels, to be corrected by hand. Imports TensorFlow when it asks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from components.annotations.image import AnnotatedImage, Annotation, find_free_stem
from components.annotations.write import Output, open_output
from components.base.errors import UsageError
from components.base.saved_model import class_names_of, task_of
from components.ingest.files import decode_name
from components.prediction.asked import saved_model_folder
from components.prediction.predict import answer_images
from schemas import features


def write_predictions(
    model: str,
    images: Path,
    out: Path,
    file_format: str,
    min_score: float,
    report: Callable[[str], None],
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Output, int]:
    """Write the boxes that a detector finds, with the images.

    Files keep their names in valid Unicode. One whose name without suffix is taken gets a number, as in
    `components.annotations.records`.

    Args:
        model: As for `components.prediction.predict.predict`.
        images: A folder of images, or one image.
        out: The output.
        file_format: One of `FORMATS`.
        min_score: The lowest score of a box.
        report: Called with each image that has no answer, and why.
        progress: As for `answer_images`.

    Returns:
        The output, and the number of images that are not in it.

    Raises:
        UsageError: The model is no detector, or `out` is there.
    """
    folder = saved_model_folder(model)
    if task_of(str(folder)) != features.DETECTION:
        raise UsageError(f"--model {model}: expected a detector, got a model for {task_of(str(folder))}")
    class_names = tuple(class_names_of(str(folder)) or ())
    root = images if images.is_dir() else images.parent
    failed = 0
    taken: set[tuple[str, str]] = set()
    with open_output(out, file_format, class_names) as output:
        answered = answer_images(str(folder), [str(images)], min_score, progress=progress)
        for answer, _, raw, size_px in answered:
            if "error" in answer or size_px is None:
                failed += 1
                report(f"{answer['image']}: {answer['error']}")
                continue
            boxes = [
                Annotation(each["label"], xmin, ymin, xmax, ymax, score=each["score"])
                for each in answer["predictions"]
                for xmin, ymin, xmax, ymax in [each["box"]]
            ]
            name = decode_name(os.path.relpath(raw, os.fsencode(root)))
            path = find_free_stem("", name, taken) + os.path.splitext(name)[1]
            output.add(
                AnnotatedImage("", path, *size_px, boxes),
                lambda target, raw=raw: shutil.copyfile(raw, target),  # type: ignore[misc]
            )
    return output, failed
