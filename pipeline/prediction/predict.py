"""Ask a pushed model's `serving_default` about image files. Imports TensorFlow, but no TFX."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from components.base.errors import UsageError
from components.base.imports import without_collector
from components.base.limits import DEFAULT_MAX_PIXELS
from components.base.saved_model import bit_depth_of
from components.base.task import TASKS, part
from components.infra_validator.protocol import Drawn, TaskAnswers
from components.ingest.bit_depth import LOW_RANGE, UPPER, is_dark
from components.ingest.canonical import CanonicalImage, canonical_bytes
from components.ingest.image_file import read_image_file
from components.ingest.whole import RejectedImage
from components.pictures.boxes import Box, colour_of, draw_boxes, file_names, save
from pipeline.prediction.asked import AskedImage, asked_images, saved_model_folder
from pipeline.run.output import describe_os_error

# Images per request: enough to fill a CPU, few enough to keep the decoded pixels small.
BATCH_IMAGES = 32
# Pixels per request, since its images are decoded at the same time: 300 MB.
BATCH_PIXELS = DEFAULT_MAX_PIXELS


# See `predict`.
Answer = dict[str, Any]


def predict(
    model: str,
    images: Sequence[str],
    min_score: float | None = None,
    draw: Path | None = None,
    *,
    top: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> list[Answer]:
    """Return an answer for every image, in the order given.

    Args:
        model: A SavedModel, the folder of its versions, a run's root, or the address of a model store.
        images: Paths of JPEG, PNG, GIF, WebP, ... files, and of folders of them.
        min_score: The lowest score of a prediction; when None 0, for a detector 0.01.
        draw: Folder for images with the boxes that score at least `min_score`, or 0.3 when that is None;
            created if it does not exist.
        top: The most predictions of an image, the best ones; all of them when None.
        max_pixels: The answer for an image with more pixels is an error.

    Returns:
        `{"image": path, "predictions": [{"label", "score"}, ...]}`, scores descending; for a file that is
        not a usable image `{"image": path, "error": why}`. A detector's predictions also have `"box": [xmin,
        ymin, xmax, ymax]` in pixels of the upright image, and with `draw` there is `"drawn"`, the path of
        the drawn image, or an error that says why there is none. The model gets the file's own bytes; if it
        refuses them, it gets a PNG instead, and `"converted"` says why. `"warning"` says what makes the
        answer doubtful.

    Raises:
        UsageError: `model` is not a model, or not one of Mirante's, or `draw` cannot be a folder, or the
            model gives nothing to draw.
    """
    found = answer_images(model, images, min_score, draw, top=top, max_pixels=max_pixels)
    return [answer for answer, _ in found]


def answer_images(
    model: str,
    images: Sequence[str],
    min_score: float | None = None,
    draw: Path | None = None,
    *,
    top: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Iterator[tuple[Answer, TaskAnswers | None]]:
    """Yield the answers of `predict` one by one, so that any number of images fits into memory.

    Each comes with the task's module `answers`, or None before the model was asked.
    """
    folder = saved_model_folder(model)
    if draw is not None:
        try:
            draw.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise UsageError(f"--draw {draw}: cannot be made: {e.strerror or e}; give another folder") from e
    asked = list(asked_images(images))
    drawn = file_names([os.fsdecode(image.path) for image in asked], draw) if draw is not None else []
    served: _Served | None = None
    problem = ""
    bit_depth = bit_depth_of(str(folder)) or UPPER
    for answers, batch in _requests(asked, max_pixels, bit_depth):
        if batch and served is None and not problem:
            try:
                served = _Served(folder, bit_depth)
            except UsageError:
                raise
            except Exception as e:  # noqa: BLE001 - every image is answered, also when the model is damaged
                problem = _describe_problem(e)
            if served is not None and draw is not None and not served.task.DRAWS:
                raise UsageError(
                    f"--draw {draw}: {folder} tells what is on an image, not where: leave out --draw"
                )
        if served is None:
            for answer, *_ in batch:
                answer["error"] = problem
        else:
            _answer(served, batch, min_score, top, drawn)
        for answer in answers:
            yield answer, None if served is None else served.task


# An image's answer, its place among all images, the file's bytes, and its canonical form.
_Read = tuple[Answer, int, bytes, CanonicalImage]


def _answer(
    served: _Served, batch: Sequence[_Read], min_score: float | None, top: int | None, drawn: Sequence[Path]
) -> None:
    """Ask a model about images, and complete their answers.

    Args:
        served: The model.
        batch: The images.
        min_score: As for `predict`.
        top: As for `predict`.
        drawn: The path of each drawing by the image's place; empty to draw nothing.
    """
    try:
        outputs_of_images = list(served.ask(batch))
    except Exception as e:  # noqa: BLE001 - as above
        for answer, *_ in batch:
            answer["error"] = _describe_problem(e)
        return
    for (answer, place, _, image), (outputs, converted) in zip(batch, outputs_of_images, strict=True):
        if converted:
            answer["converted"] = converted
        if is_dark(image.largest, served.bit_depth):
            answer["warning"] = LOW_RANGE
        image_px = image.width, image.height
        answer["predictions"] = served.task.list_predictions(outputs, image_px, min_score)[:top]
        if drawn:
            try:
                _draw(served.task.find_boxes_to_draw(outputs, image_px, min_score)[:top], image, drawn[place])
                answer["drawn"] = str(drawn[place])
            except OSError as e:
                answer["error"] = f"{drawn[place]} cannot be written: {e.strerror or e}"


def _describe_problem(error: Exception) -> str:
    told = describe_os_error(error) if isinstance(error, OSError) else str(error) or type(error).__name__
    return f"the model could not be asked: {told}"


def _requests(
    asked: Iterable[AskedImage], max_pixels: int, bit_depth: str
) -> Iterator[tuple[list[Answer], list[_Read]]]:
    """Yield the answers of images that follow each other, and those of them that the model is asked about.

    The answers of the other images say why not.
    """
    answers: list[Answer] = []
    batch: list[_Read] = []
    pixels = 0
    for place, image in enumerate(asked):
        answer: Answer = {"image": image.name}
        try:
            if image.problem:
                raise RejectedImage(image.problem)
            data = read_image_file(image.path)
            canonical = canonical_bytes(data, max_pixels=max_pixels, bit_depth=bit_depth)
        except (OSError, RejectedImage) as e:
            answer["error"] = f"cannot be read: {e.strerror or e}" if isinstance(e, OSError) else str(e)
            answers.append(answer)
            if not batch:
                yield answers, batch
                answers = []
            continue
        size = canonical.width * canonical.height
        if batch and (len(batch) == BATCH_IMAGES or pixels + size > BATCH_PIXELS):
            yield answers, batch
            answers, batch, pixels = [], [], 0
        answers.append(answer)
        batch.append((answer, place, data, canonical))
        pixels += size
    if answers:
        yield answers, batch


class _Served:
    """A loaded model.

    Attributes:
        task: Its task's module `answers`.
        bit_depth: `data.bit_depth` of the images that it was trained on.

    Raises:
        UsageError: It is not one of Mirante's.
    """

    def __init__(self, folder: Path, bit_depth: str):
        self.bit_depth = bit_depth
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
        task = _find_task(self._signature.structured_outputs)
        if task is None:
            gives = ", ".join(sorted(self._signature.structured_outputs))
            raise UsageError(
                f"{folder}: serving_default gives {gives}, as no task's models do: was the model pushed by a "
                "run?"
            )
        self.task = task
        # Models of earlier versions neither rotate images nor refuse alpha.
        self._takes_files = hasattr(loaded, "canonical")

    def ask(self, batch: Sequence[_Read]) -> Iterator[tuple[dict[str, Any], str]]:
        """Yield the signature's outputs for each image, and why its file had to be converted, else ""."""
        import tensorflow as tf

        from components.transform.canonical_graph import reason_of

        if not self._takes_files:
            yield from self._answers([image.encoded for *_, image in batch])
            return
        try:
            answers = list(self._answers([data for _, _, data, _ in batch]))
        except tf.errors.InvalidArgumentError as e:
            if len(batch) > 1:
                for each in batch:
                    yield from self.ask([each])
                return
            why = reason_of(e).partition(";")[0].removeprefix("image: ")
            answers = [(outputs, why) for outputs, _ in self._answers([batch[0][3].encoded])]
        yield from answers

    def _answers(self, encoded: list[bytes]) -> Iterator[tuple[dict[str, Any], str]]:
        import tensorflow as tf

        outputs = {
            name: value.numpy() for name, value in self._signature(image_bytes=tf.constant(encoded)).items()
        }
        for row in range(len(encoded)):
            yield {name: value[row] for name, value in outputs.items()}, ""


def _find_task(outputs: Collection[str]) -> TaskAnswers | None:
    """Return the answers of the task whose models give these outputs; None if no task's do."""
    for name in TASKS:
        answers: TaskAnswers = part(name, "answers")
        if set(answers.OUTPUTS) <= set(outputs):
            return answers
    return None


def _draw(boxes: Sequence[Drawn], image: CanonicalImage, path: Path) -> None:
    """Write an image with boxes.

    Raises:
        OSError: The file cannot be written.
    """
    drawn = [Box(corners, text, colour_of(label)) for corners, text, label in boxes]
    with Image.open(io.BytesIO(image.encoded)) as file:
        save(draw_boxes(file, drawn), path)
