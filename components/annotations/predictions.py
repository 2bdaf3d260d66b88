"""Predictions of a detector as labels, to be corrected by hand. Imports TensorFlow when it asks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from components.annotations.image import AnnotatedImage, Annotation
from components.annotations.write import Output, open_output
from components.base.errors import UsageError
from components.base.saved_model import class_names_of, task_of
from components.prediction.asked import saved_model_folder
from components.prediction.predict import answer_images
from schemas import features

_ORIENTATION = 0x0112
# From this value on, EXIF turns an image by 90 degrees.
_TURNED = 5


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
    with open_output(out, file_format, class_names) as output:
        for answer, _ in answer_images(str(folder), [str(images)], min_score, progress=progress):
            if "error" in answer:
                failed += 1
                report(f"{answer['image']}: {answer['error']}")
                continue
            source = Path(os.fsdecode(answer["image"].encode("utf-8", "surrogateescape")))
            width, height = _read_upright_size(source)
            boxes = [
                Annotation(each["label"], xmin, ymin, xmax, ymax, score=each["score"])
                for each in answer["predictions"]
                for xmin, ymin, xmax, ymax in [each["box"]]
            ]
            path = source.relative_to(root).as_posix()
            output.add(
                AnnotatedImage("", path, width, height, boxes),
                lambda target, source=source: shutil.copyfile(source, target),  # type: ignore[misc]
            )
    return output, failed


def _read_upright_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION, 1) >= _TURNED
    return (height, width) if turned else (width, height)
