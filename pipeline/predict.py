"""Predictions of a pushed model for image files, by its `serving_default`. Imports TensorFlow, no TFX."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from components import serving_folder
from components.detection.draw import Box, colour_of, draw_boxes, file_names, save
from components.errors import UsageError
from components.ingest.canonical import CanonicalImage, canonical_bytes
from components.ingest.whole import RejectedImage
from components.serving_folder import MODEL_FILE
from pipeline.imports import without_collector

# Images in one request: enough to fill a CPU, little enough to keep decoded pixels small.
BATCH_IMAGES = 32
# A detector is nearly sure that there is nothing in most places; that is not worth an answer, nor what it
# doubts worth a box on a picture.
MIN_DETECTION_SCORE = 0.01
MIN_DRAWN_SCORE = 0.3


def saved_model_folder(model: str) -> Path:
    """The SavedModel that `model` means: itself, or the highest version in it, as TF Serving takes it.

    Raises:
        UsageError: There is neither.
    """
    folder = Path(model)
    if (folder / "saved_model.pb").is_file():
        return folder
    versions = (
        [Path(path) for path in serving_folder.versions(model).values() if Path(path, MODEL_FILE).is_file()]
        if folder.is_dir()
        else []
    )
    if not versions:
        raise UsageError(
            f"{model}: no model there: expected a SavedModel, or a folder of numbered versions such as a "
            "run's serving/ folder"
        )
    return versions[0]


def predict(
    model: str, images: Sequence[str], min_score: float | None = None, draw: Path | None = None
) -> list[dict[str, Any]]:
    """Answers for every image, in the order given.

    Args:
        model: A SavedModel, or the folder of its versions. One whose `serving_default` gives `boxes` is a
            detector.
        images: Paths of JPEG, PNG, GIF, WebP, ... files.
        min_score: Predictions below are left out; 0, for a detector 0.01 when None.
        draw: Folder for pictures with the boxes that score at least `min_score`, or 0.3 when that is None;
            made if it is not there.

    Returns:
        `{"image": path, "predictions": [{"label", "score"}, ...]}`, scores descending; for a file that is no
        usable image `{"image": path, "error": why}`. A detector's predictions also have `"box": [xmin,
        ymin, xmax, ymax]` in pixels of the upright image, and with `draw` there is `"drawn"`, the picture's
        path, or an error that says why there is none.

    Raises:
        UsageError: `model` is no model, or not one of Mirante's, or `draw` is no folder, or there is nothing
            to draw since the model tells classes alone.
    """
    folder = saved_model_folder(model)
    if draw is not None:
        try:
            draw.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise UsageError(f"--draw {draw}: cannot be made: {e.strerror or e}; give another folder") from e
    answers: list[dict[str, Any]] = []
    readable: list[tuple[int, CanonicalImage]] = []
    for index, image in enumerate(images):
        answers.append({"image": image})
        try:
            readable.append((index, canonical_bytes(Path(image).read_bytes())))
        except OSError as e:
            answers[index]["error"] = f"cannot be read: {e.strerror or e}"
        except RejectedImage as e:
            answers[index]["error"] = str(e)
    if not readable:
        return answers

    with without_collector():
        import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    if "serving_default" not in loaded.signatures:
        raise UsageError(f"{folder}: the model has no signature serving_default: was it pushed by a run?")
    signature = loaded.signatures["serving_default"]
    if "image_bytes" not in signature.structured_input_signature[1]:
        raise UsageError(f"{folder}: serving_default takes no image_bytes: was the model pushed by a run?")
    detects = "boxes" in signature.structured_outputs
    if draw is not None and not detects:
        raise UsageError(f"--draw {draw}: {folder} tells what is on an image, not where: leave out --draw")
    drawn = file_names(images, draw) if draw is not None else []
    for start in range(0, len(readable), BATCH_IMAGES):
        part = readable[start : start + BATCH_IMAGES]
        outputs = signature(image_bytes=tf.constant([picture.encoded for _, picture in part]))
        outputs = {name: value.numpy() for name, value in outputs.items()}
        for row, (index, picture) in enumerate(part):
            of_image = {name: value[row] for name, value in outputs.items()}
            if not detects:
                answers[index]["predictions"] = _classes(of_image, min_score or 0.0)
                continue
            least = MIN_DETECTION_SCORE if min_score is None else min_score
            answers[index]["predictions"] = _boxes(of_image, picture, least)
            if draw is not None:
                least = MIN_DRAWN_SCORE if min_score is None else min_score
                try:
                    _draw(of_image, picture, least, drawn[index])
                    answers[index]["drawn"] = str(drawn[index])
                except OSError as e:
                    answers[index]["error"] = f"{drawn[index]} cannot be written: {e.strerror or e}"
    return answers


def _classes(outputs: dict[str, Any], min_score: float) -> list[dict[str, Any]]:
    probabilities, labels = outputs["probabilities"], outputs["labels"]
    order = sorted(range(len(labels)), key=lambda i: (-probabilities[i], i))
    return [
        {"label": labels[i].decode("utf-8"), "score": float(probabilities[i])}
        for i in order
        if probabilities[i] >= min_score
    ]


def _boxes(outputs: dict[str, Any], image: CanonicalImage, min_score: float) -> list[dict[str, Any]]:
    """The signature gives scores descending, and corners as shares of the image."""
    size = image.width, image.height, image.width, image.height
    return [
        {
            "label": outputs["class_names"][i].decode("utf-8"),
            "score": float(outputs["scores"][i]),
            "box": [round(float(c) * s, 2) for c, s in zip(outputs["boxes"][i], size, strict=True)],
        }
        for i in range(int(outputs["counts"]))
        if outputs["scores"][i] >= min_score
    ]


def _draw(outputs: dict[str, Any], image: CanonicalImage, min_score: float, path: Path) -> None:
    labels = outputs["class_labels"]
    boxes = []
    # Scores descend, so those that are left out come last.
    for each, label in zip(_boxes(outputs, image, min_score), labels, strict=False):
        xmin, ymin, xmax, ymax = each["box"]
        text = f"{each['label']} {each['score']:.2f}"
        boxes.append(Box((xmin, ymin, xmax, ymax), text, colour_of(int(label))))
    with Image.open(io.BytesIO(image.encoded)) as file:
        save(draw_boxes(file, boxes), path)
