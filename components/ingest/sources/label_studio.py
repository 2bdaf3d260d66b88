"""Label Studio: the JSON of its exports JSON and JSON_MIN, and the images.

    export.json, images/1.jpg, images/0fe1ab23-2.jpg

Regions are boxes: rectangles, and the box round rotated rectangles, ellipses and polygons, in percent of the
image. Data without a region have a class for each image, by choices. Images are looked up by name, as
components.ingest.sources.gather does. A task that its annotators skipped is left out; one that nobody
annotated is a reject. So is one with several annotations that differ, unless one of them is the ground truth.
A task that was submitted without a region is background.

INPUT is the JSON file, or a folder with one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.base.errors import DataRefusedError, UsageError
from components.ingest.files import FileEntry, label_of
from components.ingest.item import Found, LeftOut, Reject
from components.ingest.json_stream import JsonError
from components.ingest.sources.context import FITS_FILES, SourceContext
from components.ingest.sources.gather import Names
from components.ingest.sources.label_studio_json import Said, Task, read_tasks
from components.ingest.sources.label_studio_regions import Regions
from components.ingest.sources.lookup import split_of_folders
from components.ingest.truth import Label, Labels, Truth
from components.ingest.values import brief, words

_JSON = ".json"
# A guess looks for one of these words.
_OWN_WORDS = (b'"annotations"', b'"completions"', b'"annotation_id"')


def find(context: SourceContext) -> Iterator[Found]:
    """Yield one item per task.

    Raises:
        UsageError: INPUT holds no such file, or several.
        DataRefusedError: The file is damaged, or the label map does not have a class.
    """
    file = _file(context)
    names = Names(context, file)
    regions = Regions(context) if _has_regions(file) else None
    for at, task in enumerate(_tasks(file), start=1):
        if isinstance(task, str):
            yield Reject(f"{file.name}, element {at}", task)
        else:
            yield _find(context, names, regions, task, f"{file.name}, task {task.id}")
    if regions is not None:
        regions.conclude()


def fits(context: SourceContext) -> str | None:
    """Return the JSON file that begins as Label Studio's do; None where none or more than one does."""
    found = [
        entry
        for entry in _candidates(context, FITS_FILES)
        if any(word in context.read_head(entry) for word in _OWN_WORDS)
    ]
    return f"{found[0].path} lists tasks and their annotations" if len(found) == 1 else None


def _candidates(context: SourceContext, most: int | None = None) -> Iterator[FileEntry]:
    """Yield the JSON files that are a list; most: how many files are looked at, None for all."""
    for entry in context.files_ending(_JSON, most):
        head = context.read_head(entry, 64).removeprefix(b"\xef\xbb\xbf")
        if head.lstrip().startswith(b"["):
            yield entry


def _file(context: SourceContext) -> Path:
    if context.input_file is not None:
        return context.input_file
    found = list(_candidates(context))
    if len(found) != 1:
        shown = f"{len(found)} ({', '.join(entry.path for entry in found[:3])})" if found else "none"
        raise UsageError(
            f"{context.shown}: expected one .json file that is a list of tasks (export JSON or JSON_MIN of "
            f"Label Studio), found {shown}. Give the file itself as INPUT"
        )
    return context.root / found[0].path


def _tasks(file: Path) -> Iterator[Task | str]:
    try:
        yield from read_tasks(file)
    except JsonError as error:
        raise DataRefusedError(f"{file}, {error}. Export it again, or correct it") from error


def _has_regions(file: Path) -> bool:
    return any(
        one.is_region and not one.is_choice
        for task in _tasks(file)
        if isinstance(task, Task)
        for said in task.annotations
        for one in said
    )


def _find(context: SourceContext, names: Names, regions: Regions | None, task: Task, where: str) -> Found:
    if not task.image or task.image.startswith("data:"):
        got = "an image in the JSON itself" if task.image else "none"
        return Reject(where, f"expected a file name in the task's data, as image, got {got}")
    path = task.image
    if not task.annotations and task.skipped:
        return LeftOut(path, f"skipped by its annotators ({where})")
    if not task.annotations:
        return Reject(path, f"unlabelled: it has no annotation; export annotated tasks only ({where})")
    found = names.find(task.image, None)
    if isinstance(found, str) or found.problem:
        return Reject(path, f"{found if isinstance(found, str) else found.problem} ({where})")
    truths: list[Truth] = []
    for said in task.annotations:
        try:
            truth: Truth
            if regions is not None:
                truth = regions.read(said, where)
            else:
                truth = _read_labels(said) if context.config.multilabel else _read_label(said)
        except ValueError as error:
            return Reject(found.path, f"{error} ({where})")
        if truth not in truths:
            truths.append(truth)
    if len(truths) > 1:
        return Reject(
            found.path,
            f"ambiguous: {len(task.annotations)} annotations that differ; mark one of them as ground "
            f"truth, or delete the others ({where})",
        )
    return context.item(found, truths[0], split_of_folders(context, found.path))


def _list_choices(said: tuple[Said, ...]) -> list[Any]:
    choices = [one.value["choices"] for one in said if one.is_choice]
    return [choice for one in choices for choice in (one if isinstance(one, list) else [one])]


def _read_labels(said: tuple[Said, ...]) -> Labels:
    """Return all classes of an image."""
    names = (label_of(words(choice)) for choice in _list_choices(said))
    return Labels(tuple(filter(None, names)))


def _read_label(said: tuple[Said, ...]) -> Label:
    """Return the class of an image.

    Raises:
        ValueError: There is not one choice.
    """
    flat = _list_choices(said)
    if len(flat) != 1:
        if not flat:
            raise ValueError("unlabelled: it has no choice")
        raise ValueError(f"expected one choice, which is the class, got {len(flat)}: {brief(flat)}")
    if not (name := label_of(words(flat[0]))):
        raise ValueError("unlabelled: its choice is empty")
    return Label(name)
