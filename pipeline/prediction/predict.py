"""Predictions of a pushed model for image files, by its `serving_default`. Imports TensorFlow, no TFX."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from components.base.errors import UsageError
from components.base.imports import without_collector
from components.base.limits import DEFAULT_MAX_PIXELS
from components.ingest.canonical import LOW_RANGE, CanonicalImage, canonical_bytes
from components.ingest.image_file import read_image_file
from components.ingest.whole import RejectedImage
from components.pictures.boxes import Box, colour_of, draw_boxes, file_names, save
from pipeline.prediction.asked import AskedImage, asked_images, saved_model_folder

# Images in one request: enough to fill a CPU, little enough to keep decoded pixels small.
BATCH_IMAGES = 32
# They are decoded at the same time: 300 MB of pixels.
BATCH_PIXELS = DEFAULT_MAX_PIXELS
# A detector is nearly sure that there is nothing in most places; that is not worth an answer, nor what it
# doubts worth a box on a picture.
MIN_DETECTION_SCORE = 0.01
MIN_DRAWN_SCORE = 0.3


def predict(
    model: str,
    images: Sequence[str],
    min_score: float | None = None,
    draw: Path | None = None,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> list[dict[str, Any]]:
    """Answers for every image, in the order given.

    Args:
        model: A SavedModel, the folder of its versions, or a run's root. One whose `serving_default` gives
            `boxes` is a detector.
        images: Paths of JPEG, PNG, GIF, WebP, ... files, and of folders of them, which are looked through.
        min_score: Predictions below are left out; 0, for a detector 0.01 when None.
        draw: Folder for pictures with the boxes that score at least `min_score`, or 0.3 when that is None;
            made if it is not there.
        max_pixels: An image that has more is answered with an error.

    Returns:
        `{"image": path, "predictions": [{"label", "score"}, ...]}`, scores descending; for a file that is no
        usable image `{"image": path, "error": why}`. A detector's predictions also have `"box": [xmin,
        ymin, xmax, ymax]` in pixels of the upright image, and with `draw` there is `"drawn"`, the picture's
        path, or an error that says why there is none. The model is asked with the file's own bytes; where it
        refuses them and is asked with a PNG instead, `"converted"` says why. `"warning"` tells what makes
        the answer doubtful.

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
    asked = list(asked_images(images))
    drawn = file_names([os.fsdecode(image.path) for image in asked], draw) if draw is not None else []
    answers: list[dict[str, Any]] = [{"image": image.name} for image in asked]
    served: _Served | None = None
    for part in _batches(asked, answers, max_pixels):
        if served is None:
            served = _Served(folder)
            if draw is not None and not served.detects:
                raise UsageError(
                    f"--draw {draw}: {folder} tells what is on an image, not where: leave out --draw"
                )
        for (index, _, image), (outputs, converted) in zip(part, served.ask(part), strict=True):
            answer = answers[index]
            if converted:
                answer["converted"] = converted
            if image.low_range:
                answer["warning"] = LOW_RANGE
            if not served.detects:
                answer["predictions"] = _classes(outputs, min_score or 0.0)
                continue
            least = MIN_DETECTION_SCORE if min_score is None else min_score
            answer["predictions"] = _boxes(outputs, image, least)
            if draw is not None:
                least = MIN_DRAWN_SCORE if min_score is None else min_score
                try:
                    _draw(outputs, image, least, drawn[index])
                    answer["drawn"] = str(drawn[index])
                except OSError as e:
                    answer["error"] = f"{drawn[index]} cannot be written: {e.strerror or e}"
    return answers


# Its place among the answers, the file's bytes, its canonical form.
_Read = tuple[int, bytes, CanonicalImage]


def _batches(
    asked: Sequence[AskedImage], answers: list[dict[str, Any]], max_pixels: int
) -> Iterator[list[_Read]]:
    """Yield the images that can be used, a request's at a time; writes into the answers why others cannot."""
    batch: list[_Read] = []
    pixels = 0
    for index, image in enumerate(asked):
        try:
            if image.problem:
                raise RejectedImage(image.problem)
            data = read_image_file(image.path)
            canonical = canonical_bytes(data, max_pixels=max_pixels)
        except OSError as e:
            answers[index]["error"] = f"cannot be read: {e.strerror or e}"
            continue
        except RejectedImage as e:
            answers[index]["error"] = str(e)
            continue
        size = canonical.width * canonical.height
        if batch and (len(batch) == BATCH_IMAGES or pixels + size > BATCH_PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append((index, data, canonical))
        pixels += size
    if batch:
        yield batch


class _Served:
    """A loaded model.

    Raises:
        UsageError: It is not one of Mirante's.
    """

    def __init__(self, folder: Path):
        with without_collector():
            import tensorflow as tf

        loaded = tf.saved_model.load(str(folder))
        if "serving_default" not in loaded.signatures:
            raise UsageError(f"{folder}: the model has no signature serving_default: was it pushed by a run?")
        self._loaded = loaded
        self._signature = loaded.signatures["serving_default"]
        if "image_bytes" not in self._signature.structured_input_signature[1]:
            raise UsageError(
                f"{folder}: serving_default takes no image_bytes: was the model pushed by a run?"
            )
        self.detects = "boxes" in self._signature.structured_outputs
        # Models of earlier versions do not turn images, and drop alpha without a word.
        self._takes_files = hasattr(loaded, "canonical")

    def ask(self, batch: Sequence[_Read]) -> Iterator[tuple[dict[str, Any], str]]:
        """Yield what the signature gives for each image, and why its file had to be converted, else ""."""
        import tensorflow as tf

        from components.transform.canonical_graph import reason_of

        if not self._takes_files:
            yield from self._answers([image.encoded for _, _, image in batch])
            return
        try:
            answers = list(self._answers([data for _, data, _ in batch]))
        except tf.errors.InvalidArgumentError as e:
            if len(batch) > 1:
                for each in batch:
                    yield from self.ask([each])
                return
            why = reason_of(e).partition(";")[0].removeprefix("image: ")
            answers = [(outputs, why) for outputs, _ in self._answers([batch[0][2].encoded])]
        yield from answers

    def _answers(self, encoded: list[bytes]) -> Iterator[tuple[dict[str, Any], str]]:
        import tensorflow as tf

        outputs = {
            name: value.numpy() for name, value in self._signature(image_bytes=tf.constant(encoded)).items()
        }
        for row in range(len(encoded)):
            yield {name: value[row] for name, value in outputs.items()}, ""


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
