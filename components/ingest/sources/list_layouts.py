"""What the columns of a list mean: the names that people give them, and the layouts of known exports.

A layout says how to read one list. `choose_layout` takes the columns that the user names, then those with
usual names, then those that look right. The user reads what it had to guess.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from components.base.errors import UsageError
from components.base.words import format_some, suggest
from components.ingest.config import IngestConfig
from components.ingest.files import IMAGE_ENDINGS
from components.ingest.sources.box_columns import BoxColumns, find_box_columns
from components.ingest.sources.list_rows import is_object
from components.ingest.splits import split_named

FILE_COLUMNS = (
    "filename", "file_name", "file", "filepath", "filepaths", "file_path", "path", "image", "image_path",
    "image_name", "img", "image_id", "imageid", "id_code", "image index", "id", "patientid",
)  # fmt: skip
LABEL_COLUMNS = (
    "label", "labels", "class", "class_name", "category", "target", "label_name", "labelname",
    "category_name", "classname", "diagnosis", "dx", "breed", "species", "finding labels",
)  # fmt: skip
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "data set", "ml_use")
# What pandas calls the column of row numbers that it writes first.
_ROW_NUMBERS = ("", "unnamed: 0", "index")
_ONES = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False, "": False}
_COLUMNS_SHOWN = 12
SEVERAL_LABELS = (
    "each image has one class here; write a list with one class for each image, leave it out, or take task: "
    "multilabel (--multilabel)"
)


class NoImagesError(UsageError):
    """The list does not name images with their classes."""


class LeftOutRowError(Exception):
    """The row says nothing about an image's class, as it is meant to; the text says why."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """The way to read a list.

    Attributes:
        columns: The names of the cells of a row, once `adapt` has changed them; in lower case.
        image, label, split: Which of them is the name of the image, its class, and its split.
        has_names: Whether the first row has the names of the columns.
        box: The columns of a box; None for one class for each image.
        in_shares: Whether boxes are shares of the image's width and height.
        width: How many cells the rows of the list have; None if that differs.
        note: What the user reads about the reading; "" if nothing was guessed.
        guessed: Whether the column of the classes is only there because no other is left.
        adapt: Makes the cells of `columns` of those of a row.
    """

    columns: Sequence[str]
    image: int
    label: int
    split: int | None = None
    has_names: bool = True
    box: BoxColumns | None = None
    in_shares: bool = False
    width: int | None = None
    note: str = ""
    guessed: bool = False
    adapt: Callable[[list[str]], list[str]] | None = None


def choose_layout(
    path: Path, names: Sequence[str], rows: Sequence[list[str]], wanted: IngestConfig
) -> Layout:
    """Return how a list with named columns is read.

    Args:
        path: The list.
        names: Its columns.
        rows: Its first rows.
        wanted: What the user says.

    Raises:
        NoImagesError: It does not name images with their classes.
        UsageError: Its boxes are in columns that are not known, or it has no column that the user names.
    """
    names = list(names)
    while names and not names[-1].strip():
        names.pop()
    columns = [name.strip().lower() for name in names]
    said: list[str] = []
    image = _given_column(path, names, wanted, "image_column")
    if image is None:
        image = _first_of(columns, FILE_COLUMNS[:11])
    if image is None:
        image = _find_image_column(path, names, columns, rows)
        said.append(f"images in the column {names[image]!r}")
    split = _given_column(path, names, wanted, "split_column")
    if split is None:
        split = _first_of([name if at != image else "" for at, name in enumerate(columns)], SPLIT_COLUMNS)
    box = find_box_columns(path, columns)
    adapt = None
    if box is not None and box.in_one is not None:
        at = columns.index(box.in_one)
        adapt = _split_box(at, box)
        columns += box.names
        said.append(f"boxes in the column {names[at]!r} as [{', '.join(box.names).replace('bbox_', '')}]")
    others = [
        at
        for at, name in enumerate(columns[: len(names)])
        if at not in (image, split)
        and name not in _ROW_NUMBERS
        and not any(is_object(row[at]) for row in rows if at < len(row))
    ]
    label = _given_column(path, names, wanted, "label_column")
    if label is None:
        label = _first_of([name if at != image else "" for at, name in enumerate(columns)], LABEL_COLUMNS)
    guessed = False
    if label is None and box is None:
        if len(others) > 1 and _is_one_hot(others, rows):
            adapt = _pick_classes([(at, names[at].strip()) for at in others], several=wanted.multilabel)
            said.append(f"one class in each of {len(others)} columns of 0 and 1")
            label, columns = len(names), [*columns, "class"]
        elif len(others) == 1:
            label, guessed = others[0], True
            said.append(f"classes in {names[label]!r}, the only other column")
    if label is None:
        raise NoImagesError(_without_classes(path, names, box is not None))
    if said and wanted.label_column is None and label < len(names) and not guessed:
        said.append(f"classes in {names[label]!r}")
    options = "--image-column and --label-column name others"
    return Layout(
        columns, image, label, split, box=box, width=len(names), guessed=guessed, adapt=adapt,
        note=f"{path.name} is read with {format_some(said, 9)}; {options}." if said else "",
    )  # fmt: skip


def choose_without_names(path: Path, rows: Sequence[list[str]], wanted: IngestConfig) -> Layout:
    """Return how a list is read whose first row is an image; its columns are called 1, 2 and so on.

    Raises:
        NoImagesError: Its columns are not known, and the user does not name them.
        UsageError: It has no column that the user names.
    """
    first = rows[0] if rows else []
    names = [str(at + 1) for at in range(len(first))]
    image = _given_column(path, names, wanted, "image_column")
    if image is None:
        image = next((at for at, cell in enumerate(first) if is_image_name(cell)), 0)
    split = _given_column(path, names, wanted, "split_column")
    label = _given_column(path, names, wanted, "label_column")
    if label is None:
        others = [at for at in range(len(names)) if at not in (image, split)]
        if split is None and len(others) == 2:
            split = next((at for at in others if _are_splits(row[at] for row in rows if at < len(row))), None)
            others = [at for at in others if at != split]
        if len(others) != 1:
            raise NoImagesError(
                f"{path}: expected the number of the column with the classes, as no line names the columns; "
                f"the first line has {len(first)} fields: {', '.join(first)[:200]}; name it by "
                "--label-column, e.g. --label-column 2"
            )
        label = others[0]
    return Layout(
        names, image, label, split, has_names=False, width=len(names),
        note=f"{path.name} is read without names of columns, as its first line is "
        f"{'one of an image' if not wanted.no_header else 'said to be an image'}: images in column "
        f"{image + 1}, classes in column {label + 1}"
        f"{'' if split is None else f', splits in column {split + 1}'}; --image-column and --label-column "
        "name others.",
    )  # fmt: skip


def _given_column(path: Path, names: Sequence[str], wanted: IngestConfig, option: str) -> int | None:
    """Return the place of the column that an option names; None without the option."""
    name = getattr(wanted, option)
    return None if name is None else find_column(path, names, name, option)


def find_column(path: Path, names: Sequence[str], wanted: str, option: str) -> int:
    """Return the place of the column that the user names by an option.

    Raises:
        NoImagesError: There is no such column.
    """
    plain = [name.strip() for name in names]
    if wanted.strip() in plain:
        return plain.index(wanted.strip())
    folded = [name.lower() for name in plain]
    if wanted.strip().lower() in folded:
        return folded.index(wanted.strip().lower())
    raise NoImagesError(
        f"{option}: expected a column of {path} ({format_some(names, _COLUMNS_SHOWN, 'none')}), got "
        f"{wanted!r}{suggest(wanted, plain)}"
    )


def _are_splits(cells: Iterable[str]) -> bool:
    """Return whether all cells are usual names of splits."""
    return all(split_named(cell, {}) for cell in cells)


def is_image_name(cell: str) -> bool:
    """Return whether a cell ends as names of image files do."""
    return cell.strip().lower().endswith(IMAGE_ENDINGS)


def _first_of(columns: Sequence[str], known: Sequence[str]) -> int | None:
    """Return the place of the first known name that is there."""
    return next((columns.index(name) for name in known if name in columns), None)


def _find_image_column(
    path: Path, names: Sequence[str], columns: Sequence[str], rows: Sequence[list[str]]
) -> int:
    """Return the column whose cells end as images' names do, else one that is called as Kaggle's are."""
    looks = [
        at
        for at in range(len(names))
        if (cells := [row[at] for row in rows if at < len(row) and row[at]])
        and all(map(is_image_name, cells))
    ]
    at = looks[0] if len(looks) == 1 else _first_of(columns, FILE_COLUMNS[11:])
    if at is not None:
        return at
    pixels = [name for name in columns if re.fullmatch(r"pixels?_?\d*|\d+x\d+", name)]
    if pixels:
        raise NoImagesError(
            f"{path}: expected names of image files, got the pixels themselves ({format_some(pixels, 2)}); "
            "write each row as an image, or take the data as IDX files"
        )
    raise NoImagesError(
        f"{path}: no column for the file's name: expected filename or another usual name (docs/ingest.md), "
        f"got {format_some(columns, _COLUMNS_SHOWN, 'none')}; name it by --image-column (data.image_column), "
        "or, if the first line is already an image, say --no-header"
    )


def _without_classes(path: Path, names: Sequence[str], has_boxes: bool) -> str:
    hint = "; boxes of a single class need it too" if has_boxes else ""
    return (
        f"{path}: no column for the class: expected label, class or another usual name (docs/ingest.md), got "
        f"{format_some([name.strip().lower() for name in names], _COLUMNS_SHOWN, 'none')}; name it by "
        f"--label-column (data.label_column){hint}"
    )


def _is_one_hot(columns: Sequence[int], rows: Sequence[list[str]]) -> bool:
    cells = [row[at].lower() for row in rows for at in columns if at < len(row)]
    return bool(rows) and all(cell in _ONES for cell in cells) and any(_ONES[cell] for cell in cells)


def _pick_classes(classes: Sequence[tuple[int, str]], *, several: bool) -> Callable[[list[str]], list[str]]:
    """Return what appends the name of the one column of a row that is 1; a list of names of several."""

    def adapt(cells: list[str]) -> list[str]:
        picked = []
        for at, name in classes:
            is_one = _ONES.get(cells[at].lower())
            if is_one is None:
                raise ValueError(f"expected 0 or 1 in the column {name}, got {cells[at]!r}")
            if is_one:
                picked.append(name)
        if several:
            return [*cells, json.dumps(picked, ensure_ascii=False)]
        if len(picked) > 1:
            raise ValueError(f"several classes ({format_some(picked, 3)}): {SEVERAL_LABELS}")
        if not picked:
            raise ValueError(f"unlabelled: all {len(classes)} columns of classes are 0")
        return [*cells, picked[0]]

    return adapt


def _split_box(at: int, box: BoxColumns) -> Callable[[list[str]], list[str]]:
    """Return what appends the four numbers of a box that is in one cell."""

    def adapt(cells: list[str]) -> list[str]:
        numbers = [one for one in re.split(r"[\s,;]+", cells[at].strip("[](){} ")) if one]
        if numbers and len(numbers) != len(box.names):
            raise ValueError(f"{box.in_one}: expected [x, y, width, height], got {cells[at][:80]!r}")
        return [*cells, *(numbers or [""] * len(box.names))]

    return adapt
