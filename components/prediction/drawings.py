"""Images that `mirante predict` writes: with a detector's boxes, or with heat maps of a classifier."""

import dataclasses
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from components.base.errors import UsageError
from components.infra_validator.protocol import Drawn
from components.ingest.canonical import CanonicalImage
from components.pictures.boxes import Box, colour_of, draw_boxes, file_names, save
from components.pictures.heat import draw_heat
from components.prediction.asked import AskedImage
from components.prediction.loaded import LoadedModel

# See `components.prediction.predict.predict`.
Answer = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Answered:
    """An image that a model was asked about.

    Attributes:
        answer: Its answer.
        place: Its place among all images.
        image: Its canonical form.
        best: Its best prediction, whatever the answer has of it.
    """

    answer: Answer
    place: int
    image: CanonicalImage
    best: Answer


class Drawings:
    """The folders for drawings, which are created if they do not exist.

    Args:
        asked: All images, in the order in which they are answered.
        boxes: Folder for images with boxes; None to draw none.
        heat: Folder for images with heat maps; None to draw none.

    Raises:
        UsageError: A folder cannot be made.
    """

    def __init__(self, asked: Sequence[AskedImage], boxes: Path | None, heat: Path | None):
        for option, folder in (("--draw", boxes), ("--explain", heat)):
            try:
                if folder is not None:
                    folder.mkdir(parents=True, exist_ok=True)
            except OSError as e:
                raise UsageError(
                    f"{option} {folder}: cannot be made: {e.strerror or e}; give another folder"
                ) from e
        names = [os.fsdecode(image.path) for image in asked]
        self._boxes, self._heat = boxes, heat
        self._box_files = file_names(names, boxes, "boxes") if boxes is not None else []
        self._heat_files = file_names(names, heat, "heat") if heat is not None else []

    @property
    def has_heat(self) -> bool:
        """True if heat maps were asked for."""
        return self._heat is not None

    def check(self, model: LoadedModel) -> None:
        """Check that the model gives what was asked for.

        Raises:
            UsageError: It does not.
        """
        if self._boxes is not None and not model.task.DRAWS:
            raise UsageError(
                f"--draw {self._boxes}: {model.folder} tells what is on an image, not where: leave out "
                "--draw, or give --explain to see where it looks"
            )
        if self._heat is None or model.can_explain:
            return
        if model.task.DRAWS:
            why = "is a detector, whose boxes show where an object is: give --draw instead"
        else:
            why = (
                "has no heat maps: its network has no convolution, or an earlier version of Mirante trained "
                "it; leave out --explain, or train again"
            )
        raise UsageError(f"--explain {self._heat}: {model.folder} {why}")

    def draw_boxes(self, boxes: Sequence[Drawn], image: CanonicalImage, place: int, answer: Answer) -> None:
        """Write an image with boxes, if that was asked for; the answer gets its path as `drawn`."""
        if self._boxes is None:
            return
        drawn = [Box(corners, text, colour_of(label)) for corners, text, label in boxes]
        with Image.open(io.BytesIO(image.encoded)) as file:
            _write(draw_boxes(file, drawn), self._box_files[place], answer, "drawn")

    def draw_heat(self, model: LoadedModel, answered: Sequence[Answered]) -> None:
        """Write images with a heat map of their best class, if that was asked for; answers get `explained`.

        Args:
            model: The model, which has heat maps.
            answered: The images.
        """
        if self._heat is None or not answered:
            return
        labels = [model.class_names.index(each.best["label"]) for each in answered]
        maps = model.explain([each.image.encoded for each in answered], labels)
        for each, heat in zip(answered, maps, strict=True):
            with Image.open(io.BytesIO(each.image.encoded)) as file:
                drawn = draw_heat(file, heat, f"{each.best['label']} {each.best['score']:.2f}")
            _write(drawn, self._heat_files[each.place], each.answer, "explained")


def _write(image: Image.Image, path: Path, answer: Answer, key: str) -> None:
    try:
        save(image, path)
        answer[key] = str(path)
    except OSError as e:
        answer["error"] = f"{path} cannot be written: {e.strerror or e}"
