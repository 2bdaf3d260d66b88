"""Ask a pushed model's `serving_default` about image files. Imports TensorFlow, but no TFX."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from components.base.errors import MiranteError, UsageError
from components.base.limits import DEFAULT_MAX_PIXELS
from components.base.os_errors import describe_os_error
from components.base.saved_model import bit_depth_of
from components.infra_validator.protocol import TaskAnswers
from components.ingest.bit_depth import LOW_RANGE, UPPER, is_dark
from components.ingest.canonical import CanonicalImage, canonical_bytes
from components.ingest.image_file import read_image_file
from components.ingest.whole import RejectedImage
from components.prediction.asked import AskedImage, asked_images, saved_model_folder
from components.prediction.drawings import Answer, Answered, Drawings
from components.prediction.loaded import LoadedModel, is_refusal

# Images per request: enough to fill a CPU, few enough to keep the decoded pixels small.
BATCH_IMAGES = 32
# Pixels per request, since its images are decoded at the same time: 300 MB.
BATCH_PIXELS = DEFAULT_MAX_PIXELS


class AnsweredImage(NamedTuple):
    """An image file with its answer.

    Attributes:
        answer: As `predict` returns it.
        task: The task's module `answers`; None before the model was asked.
        path: The file as the file system names it; `answer["image"]` may have other bytes.
        size_px: Width and height of the upright image, which boxes refer to; None if it was not read.
    """

    answer: Answer
    task: TaskAnswers | None
    path: bytes
    size_px: tuple[int, int] | None


def predict(
    model: str,
    images: Sequence[str],
    min_score: float | None = None,
    draw: Path | None = None,
    explain: Path | None = None,
    *,
    top: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    language: str | None = None,
) -> list[Answer]:
    """Return an answer for every image, in the order given.

    Args:
        model: A SavedModel, the folder of its versions, a run's root, or the address of a model store.
        images: Paths of JPEG, PNG, GIF, WebP, ... files, and of folders of them.
        min_score: The lowest score of a prediction; when None 0, for a detector 0.01.
        draw: Folder for images with the boxes that score at least `min_score`, or 0.3 when that is None;
            created if it does not exist.
        explain: Folder for images with heat maps, which show where a classifier looks for its best class;
            created if it does not exist.
        top: The most predictions of an image, the best ones; all of them when None.
        max_pixels: The answer for an image with more pixels is an error.
        language: Of the class names, one that the model has (`data.class_names`); their own when None.

    Returns:
        `{"image": path, "predictions": [{"label", "score"}, ...]}`, scores descending; for a file that is
        not a usable image `{"image": path, "error": why}`. A detector's predictions also have `"box": [xmin,
        ymin, xmax, ymax]` in pixels of the upright image, and with `draw` there is `"drawn"`, the path of
        the drawn image, or an error that says why there is none; with `explain` it is `"explained"`. The
        model gets the file's own bytes; if it refuses them, it gets a PNG instead, and `"converted"` says
        why. `"warning"` says what makes the answer doubtful.

    Raises:
        UsageError: `model` is not a model, or not one of Mirante's, or `draw` or `explain` cannot be a
            folder, or the model gives nothing to draw, or has no heat maps.
    """
    found = answer_images(
        model, images, min_score, draw, explain, top=top, max_pixels=max_pixels, language=language
    )
    return [each.answer for each in found]


def answer_images(
    model: str,
    images: Sequence[str],
    min_score: float | None = None,
    draw: Path | None = None,
    explain: Path | None = None,
    *,
    top: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    language: str | None = None,
    served: LoadedModel | None = None,
    is_strict: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[AnsweredImage]:
    """Yield the answers of `predict` one by one, so that any number of images fits into memory.

    `served` is the model where it is loaded already. `progress` is called as progress(phase, done, total).

    Raises:
        MiranteError: With `is_strict`, the model failed for another reason than an image, such as memory.
    """
    folder = saved_model_folder(model)
    asked = list(asked_images(images))
    drawings = Drawings(asked, draw, explain)
    problem, done = "", 0
    if progress is not None:
        progress("predict", done, len(asked))
    bit_depth = bit_depth_of(str(folder)) or UPPER
    for images_of_request, batch in _requests(asked, max_pixels, bit_depth):
        if batch and served is None and not problem:
            try:
                served = LoadedModel(folder, bit_depth, language)
            except UsageError:
                raise
            except Exception as e:  # noqa: BLE001 - every image is answered, also when the model is damaged
                problem = _describe_problem(e)
            if served is not None:
                drawings.check(served)
        if served is None:
            for answer, *_ in batch:
                answer["error"] = problem
        elif batch:
            _answer(served, batch, min_score, top, drawings, is_strict)
        done += len(images_of_request)
        if progress is not None:
            progress("predict", done, len(asked))
        for answer, path, size_px in images_of_request:
            yield AnsweredImage(answer, None if served is None else served.task, path, size_px)


# An image's answer, and its path and size as `AnsweredImage` has them.
_ToAnswer = tuple[Answer, bytes, tuple[int, int] | None]
# An image's answer, its place among all images, the file's bytes, and its canonical form.
_Read = tuple[Answer, int, bytes, CanonicalImage]


def _answer(
    served: LoadedModel,
    batch: Sequence[_Read],
    min_score: float | None,
    top: int | None,
    drawings: Drawings,
    is_strict: bool,
) -> None:
    """Ask a model about images, and complete their answers.

    Args:
        served: The model.
        batch: The images.
        min_score: As for `predict`.
        top: As for `predict`.
        drawings: What is drawn of them.
        is_strict: As for `answer_images`.
    """
    try:
        outputs_of_images = list(served.ask([(data, image.encoded) for _, _, data, image in batch]))
    except Exception as e:  # as above
        if is_strict and not is_refusal(e):
            raise MiranteError(_describe_problem(e)) from e
        for answer, *_ in batch:
            answer["error"] = _describe_problem(e)
        return
    answered = []
    for (answer, place, _, image), (outputs, converted) in zip(batch, outputs_of_images, strict=True):
        if converted:
            answer["converted"] = converted
        if is_dark(image.largest, served.bit_depth):
            answer["warning"] = LOW_RANGE
        image_px = image.width, image.height
        answer["predictions"] = served.task.list_predictions(outputs, image_px, min_score)[:top]
        boxes = served.task.find_boxes_to_draw(outputs, image_px, min_score)[:top]
        drawings.draw_boxes(boxes, image, place, answer)
        if drawings.has_heat:
            best = served.task.list_predictions(outputs, image_px, None)[:1]
            answered += [Answered(answer, place, image, each) for each in best]
    try:
        drawings.draw_heat(served, answered)
    except Exception as e:  # noqa: BLE001 - as above
        for each in answered:
            each.answer["error"] = f"no heat map: {_describe_problem(e)}"


def _describe_problem(error: Exception) -> str:
    told = describe_os_error(error) if isinstance(error, OSError) else str(error) or type(error).__name__
    return f"the model could not be asked: {told}"


def _requests(
    asked: Iterable[AskedImage], max_pixels: int, bit_depth: str
) -> Iterator[tuple[list[_ToAnswer], list[_Read]]]:
    """Yield images that follow each other, and those of them that the model is asked about.

    The answers of the other images say why not.
    """
    answers: list[_ToAnswer] = []
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
            answers.append((answer, image.path, None))
            if not batch:
                yield answers, batch
                answers = []
            continue
        size = canonical.width * canonical.height
        if batch and (len(batch) == BATCH_IMAGES or pixels + size > BATCH_PIXELS):
            yield answers, batch
            answers, batch, pixels = [], [], 0
        answers.append((answer, image.path, (canonical.width, canonical.height)))
        batch.append((answer, place, data, canonical))
        pixels += size
    if answers:
        yield answers, batch
