"""Tasks of Label Studio, from its exports JSON and JSON_MIN: an image, and what its annotators said.

    [{"id": 7, "data": {"image": "/data/upload/3/0fe1ab23-1.jpg"}, "annotations": [{"result": [
       {"original_width": 40, "original_height": 20, "image_rotation": 0, "type": "rectanglelabels", "value":
        {"x": 25, "y": 25, "width": 25, "height": 50, "rotation": 0, "rectanglelabels": ["cat"]}}]}]}]

    [{"image": "/data/upload/3/0fe1ab23-1.jpg", "id": 7, "label": [
       {"x": 25, "y": 25, "width": 25, "height": 50, "rotation": 0, "rectanglelabels": ["cat"],
        "original_width": 40, "original_height": 20}], "annotator": 1, "annotation_id": 3, "lead_time": 2.1}]

https://labelstud.io/guide/export

JSON_MIN has a row for each annotation: the data of the task, its id, what the annotator said by the names of
the controls, and who that was.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.ingest.files import IMAGE_ENDINGS
from components.ingest.json_stream import read_list
from components.ingest.values import brief, words

# What a row of JSON_MIN has besides the task's data and what was said. `id` follows the data.
_ID, _ABOUT = "id", ("annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement")
# Keys of a task in the export JSON; older versions have the second.
_ANNOTATIONS = ("annotations", "completions")
# More annotators of one image than there are, so that memory does not grow.
_MOST_ROWS = 1000
_IMAGE_KEYS = ("image", "img", "photo", "url")
_ENDING = re.compile(rf"({'|'.join(map(re.escape, IMAGE_ENDINGS))})([?&#].*)?$", re.IGNORECASE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Said:
    """One thing that an annotator said.

    Attributes:
        value: Its content: a region with labels, or choices.
        about: What is said of the image: original_width, original_height, image_rotation.
    """

    value: dict[str, Any]
    about: dict[str, Any]

    @property
    def is_choice(self) -> bool:
        """Return whether it is about the whole image."""
        return "choices" in self.value and "x" not in self.value and "points" not in self.value

    @property
    def is_region(self) -> bool:
        """Return whether it marks an object."""
        return labels_of(self.value) is not None or "width" in self.value or "points" in self.value


@dataclasses.dataclass(frozen=True)
class Task:
    """An image.

    Attributes:
        id: Of the task, for messages.
        image: What it calls its image; "" where nothing is called like one.
        annotations: What each annotator said; one that did not skip the task.
        skipped: How many annotators skipped it.
    """

    id: str
    image: str
    annotations: tuple[tuple[Said, ...], ...]
    skipped: int


def read_tasks(file: Path) -> Iterator[Task | str]:
    """Yield the tasks of a file, or why an element is not a task.

    Raises:
        JsonError: The file is damaged.
    """
    # The rows of a task in JSON_MIN follow each other.
    for _, group in itertools.groupby(enumerate(read_list(file)), key=lambda row: _group(*row)):
        rows = [row for _, row in itertools.islice(group, _MOST_ROWS + 1)]
        yield _task(rows) if len(rows) <= _MOST_ROWS else f"more than {_MOST_ROWS} annotations of one task"


def labels_of(value: dict[str, Any]) -> list[Any] | None:
    """Return the labels of a region, by whatever control; None where it has none."""
    for key, found in value.items():
        if key.endswith("labels") and isinstance(found, list):
            return found
    return None


def _group(at: int, row: Any) -> object:
    is_row = isinstance(row, dict) and not any(key in row for key in _ANNOTATIONS)
    return brief(row[_ID]) if is_row and _ID in row else at


def _task(rows: list[Any]) -> Task | str:
    row = rows[0]
    if not isinstance(row, dict):
        return f"expected a task of Label Studio, got {brief(row)}"
    name = brief(row.get(_ID)).strip("'")
    key = next((key for key in _ANNOTATIONS if key in row), None)
    if key is None:
        image = _image(dict(itertools.takewhile(lambda pair: pair[0] != _ID, row.items()))) or _image(row)
        return Task(name, image, tuple(_said_in_row(row, image) for row in rows), 0)
    annotations = row[key] if isinstance(row[key], list) else []
    whole = [one for one in annotations if isinstance(one, dict)]
    kept = [one for one in whole if not (one.get("was_cancelled") or one.get("skipped"))]
    skipped = len(whole) - len(kept)
    truths = [one for one in kept if one.get("ground_truth") is True]
    if len(truths) == 1:
        kept = truths
    data = row.get("data")
    image = _image(data) if isinstance(data, dict) else ""
    return Task(name, image, tuple(map(_said_in_annotation, kept)), skipped)


def _said_in_annotation(annotation: dict[str, Any]) -> tuple[Said, ...]:
    results = annotation.get("result")
    return _without_copies(
        [
            Said(one["value"], one)
            for one in (results if isinstance(results, list) else [])
            if isinstance(one, dict) and isinstance(one.get("value"), dict)
        ]
    )


def _said_in_row(row: dict[str, Any], image: str) -> tuple[Said, ...]:
    keys = list(row)
    found = []
    for key in keys[keys.index(_ID) + 1 :] if _ID in row else keys:
        value = row[key]
        if key in _ABOUT or value == image:
            continue
        if isinstance(value, str):
            found.append(Said({"choices": [value]}, {}))
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                found.append(Said(one, one))
    return _without_copies(found)


def _without_copies(said: list[Said]) -> tuple[Said, ...]:
    """Return what was said without regions that are there again with a label, as two controls write them."""
    labelled = {_place(one.value) for one in said if labels_of(one.value) is not None}
    return tuple(
        one
        for one in said
        if labels_of(one.value) is not None or not one.is_region or _place(one.value) not in labelled
    )


def _place(value: dict[str, Any]) -> str:
    """Return what says where a region is."""
    return repr([value.get(key) for key in ("x", "y", "width", "height", "radiusX", "radiusY", "points")])


def _image(data: dict[str, Any]) -> str:
    """Return what a task calls its image: the text that is called like one, else that looks like one."""
    texts = {key: value for key, value in data.items() if _is_text(value)}
    for key in _IMAGE_KEYS:
        if key in texts:
            return texts[key]
    named = [value for value in texts.values() if _ENDING.search(value)]
    return named[0] if len(named) == 1 else ""


def _is_text(value: Any) -> bool:
    try:
        return bool(words(value))
    except ValueError:
        return False
