"""Test images that one detector gets wrong and another one right, with the boxes of both, on a page."""

import dataclasses
import os
from collections.abc import Iterator, Sequence

from PIL import Image

from components.base import files
from components.base.words import format_some
from components.pages.page import Page
from components.pages.protocol import Tested
from components.pages.records import read_shard
from components.pictures.thumbnails import to_jpeg
from components.tasks.detection.drawing import describe, draw_found, draw_labels, open_panel
from components.tasks.detection.error_kinds import ImageErrors, count_errors, judge
from components.tasks.detection.report import COUNTED, FOLDER, rank_worst
from components.tasks.detection.stored import Judged, from_bytes
from components.tasks.detection.truth import Key, find_images, make_key

# Images that are shown, and those that are only named.
_MOST_IMAGES, _MOST_NAMES = 6, 12


@dataclasses.dataclass(frozen=True)
class _Answers:
    """The boxes that a model found, and its errors on some images."""

    name: str
    judged: Judged
    errors: dict[Key, ImageErrors]

    def draw(self, pixels: Image.Image, key: Key) -> tuple[bytes, str]:
        """Return an image with the boxes that were found on it, and the words on them."""
        errors = self.errors[key]
        image = self.judged.images[errors.index]
        drawn = draw_found(pixels, image, errors, self.judged.class_names)
        return to_jpeg(drawn), f"{self.name}: {describe(errors)}"


def show_differences(page: Page, wrong: Tested, right: Tested, images: Sequence[str]) -> None:
    """Add the worst of the images with their labels and the boxes of both models; name the others."""
    if not images:
        return
    of_wrong, of_right = (_read_answers(page, tested, images) for tested in (wrong, right))
    shown: list[str] = []
    if of_wrong is None or of_right is None:
        page.add_note("No image is shown: an evaluation of an earlier version kept no boxes.")
    else:
        shown = _show_worst(page, of_wrong, of_right, wrong.examples or right.examples)
        if not shown:
            page.add_note("No image is shown: the test images are gone.")
    if named := [name for name in images if name not in shown]:
        page.add_note(f"{'Also ' if shown else ''}{format_some(named, _MOST_NAMES)}.")


def _read_answers(page: Page, tested: Tested, images: Sequence[str]) -> _Answers | None:
    """Return a model's answers, judged on images of these names; None from an earlier version."""
    path = os.path.join(tested.evaluation, FOLDER, COUNTED)
    if not files.exists(path):
        return None
    judged, names = from_bytes(files.read_bytes(path)), set(images)
    errors = {
        make_key(vars(image)): count_errors(i, image, judge(image, i))
        for i, image in enumerate(judged.images)
        if image.name in names
    }
    shown = [page.translate(name) for name in judged.class_names]
    return _Answers(tested.name, dataclasses.replace(judged, class_names=shown), errors)


def _show_worst(page: Page, wrong: _Answers, right: _Answers, examples: Sequence[str]) -> list[str]:
    """Add images that one model alone gets right, the worst first; return their names."""
    # Another image may have the same name.
    differ = [
        errors
        for key, errors in wrong.errors.items()
        if errors.errors and key in right.errors and not right.errors[key].errors
    ]
    images, class_names = wrong.judged.images, wrong.judged.class_names
    worst = rank_worst(images, differ)[:_MOST_IMAGES]
    encoded = find_images(_read_shards(examples), images, worst)
    for i, content in encoded.items():
        key, pixels = make_key(vars(images[i])), open_panel(content)
        not_found = f"not found by {wrong.name}"
        labels = draw_labels(pixels, images[i], wrong.errors[key], class_names, not_found)
        panels = [(to_jpeg(labels), "labels"), right.draw(pixels, key), wrong.draw(pixels, key)]
        page.add_row(panels, images[i].name)
    return [images[i].name for i in encoded]


def _read_shards(paths: Sequence[str]) -> Iterator[bytes]:
    for path in paths:
        yield from read_shard(path)
