"""A list of images as a table: which columns it has, and its rows, whatever its format."""

import contextlib
import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from components.base.errors import MiranteError, UsageError
from components.base.words import format_some
from components.ingest.groups import column_of
from components.ingest.sources.context import SourceContext
from components.ingest.sources.csv_lines import CsvLines
from components.ingest.sources.json_lines import JsonLines
from components.ingest.sources.list_exports import find_export
from components.ingest.sources.list_layouts import (
    SEVERAL_LABELS,
    Layout,
    LeftOutRowError,
    choose_layout,
    choose_without_names,
    find_column,
    is_image_name,
)
from components.ingest.sources.list_rows import ImageCell, OnlyCell, RawList, RawRow, is_object
from components.ingest.sources.parquet_rows import ParquetRows
from components.ingest.values import brief

# Rows that are looked at to see what the columns are.
_ROWS_LOOKED_AT = 20
# What reads a list, by the ending of its name.
_READERS: Mapping[str, Callable[[Path], RawList]] = {
    ".csv": CsvLines,
    ".tsv": CsvLines,
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".parquet": ParquetRows,
}
SUFFIXES = tuple(_READERS)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a list.

    Attributes:
        name: What the row calls its image.
        label: Its class.
        group: What the image belongs to, if the user names a column with that.
        where: File and line, for messages.
        split: The split; None if the row and the file tell none.
        cells: By column, where the list has boxes.
        problem: Why it cannot be read; "" if it can. The cells are then empty, and so is the name unless it
            is known.
        left_out: Why it is not meant to be read; "" if it is.
    """

    name: str
    label: str
    group: str | None
    where: str
    split: str | None
    cells: Mapping[str, str]
    problem: str = ""
    left_out: str = ""


class Table:
    """A list: its layout, and its rows one after the other.

    Attributes:
        path: The file.
        layout: How it is read.
        given: How many rows `rows` has yielded.

    Args:
        context: Of the source.
        path: The list.
        class_names: Names of classes, by their identifiers, for lists that have these.

    Raises:
        UsageError: The list is not of this kind.
        DataRefusedError: The list is broken.
    """

    def __init__(self, context: SourceContext, path: Path, class_names: Mapping[str, str]) -> None:
        self.path, self.given = path, 0
        self._context = context
        self._raw = _READERS.get(path.suffix.lower(), CsvLines)(path)
        # Closed again: there may be more lists than files that can be open.
        with contextlib.closing(self._raw.rows()) as rows:
            first = list(itertools.islice(rows, _ROWS_LOOKED_AT))
        self.layout = self._choose(first, class_names)
        names = self._raw.names
        if names is None and self.layout.has_names:
            names, first = first[0][1] if first else [], first[1:]
        group = column_of(context.config.group_by)
        if names is None:
            names = [str(at + 1) for at in range(len(first[0][1]))]
        self._group = None if group is None else find_column(path, names, group, "group_by")
        self._first = first

    @property
    def class_names(self) -> Sequence[str] | None:
        """The classes in their order, if the list has one."""
        known: Mapping[str, Sequence[str]] = getattr(self._raw, "class_names", {})
        names = self._raw.names or ()
        return known.get(names[self.layout.label]) if self.layout.label < len(names) else None

    @property
    def label_name(self) -> str:
        """The column of the classes."""
        return self.layout.columns[self.layout.label]

    def describe(self) -> str:
        """Return the columns that are read, for a sentence."""
        box = () if self.layout.box is None else self.layout.box.names
        names = [self.layout.columns[self.layout.image], *box, self.label_name]
        return (
            f"the columns {', '.join(names)}" if self.layout.has_names else "rows of images without a header"
        )

    def names_an_image(self) -> bool:
        """Return whether one of the first rows names a file that is here, with or without its ending."""
        files = self._context.index.files
        for raw in self._first:
            name = self._read(raw, {"": None}).name
            last = re.split(r"[/\\]", name)[-1]
            if isinstance(name, ImageCell) or (
                last and (files.has(last) or files.has(last, any_ending=True))
            ):
                return True
        return False

    def rows(self, default_split: str | None) -> Iterator[Row]:
        """Yield all rows that are not empty, and count them in `given`.

        Args:
            default_split: The split of rows that tell none.

        Raises:
            UsageError: A split that is not known.
            DataRefusedError: A row that cannot be told from others.
        """
        splits: dict[str, str | None] = {"": default_split}
        self.given = 0
        before = int(self._raw.names is None and self.layout.has_names)
        for raw in itertools.islice(self._raw.rows(), before, None):
            self.given += 1
            yield self._read(raw, splits)
        expected = self._raw.count - before
        if self.given != expected:
            raise MiranteError(
                f"{self.path}: {expected} rows were counted and {self.given} were read. That is a fault of "
                "Mirante: report it with the list"
            )

    def _read(self, raw: RawRow, splits: dict[str, str | None]) -> Row:
        """Return what a row says; splits: those of the names that rows had so far, extended here."""
        layout = self.layout
        number, cells, problem = raw
        where = f"{self.path.name} {self._raw.unit} {number}"
        group = cells[self._group] if self._group is not None and self._group < len(cells) else ""
        problem = problem or self._problem(cells)
        left_out = ""
        if not problem and layout.adapt is not None:
            try:
                cells = layout.adapt(cells[: layout.width])
            except ValueError as error:
                problem = str(error)
            except LeftOutRowError as reason:
                left_out = str(reason)
        if problem or left_out:
            name = cells[layout.image] if layout.width and layout.image < len(cells) else ""
            return Row(name, "", None, where, None, dict.fromkeys(layout.columns, ""), problem, left_out)
        brought = cells[layout.split] if layout.split is not None else ""
        if brought not in splits:
            splits[brought] = self._split_named(brought, number) or splits[""]
        by_column = {}
        if layout.box is not None:  # of two columns with one name the first counts
            columns = layout.columns
            by_column = dict(zip(reversed(columns), reversed(cells[: len(columns)]), strict=True))
        label = cells[layout.label]
        if is_object(label):
            label, problem = "", f"expected a class, got {brief(label)}"
        elif self._context.config.multilabel:
            label = json.dumps([label], ensure_ascii=False) if isinstance(label, OnlyCell) else label
        elif label.startswith("["):
            label, problem = _only_label(label)
        return Row(cells[layout.image], label, group or None, where, splits[brought], by_column, problem)

    def _choose(self, first: Sequence[RawRow], class_names: Mapping[str, str]) -> Layout:
        rows, wanted = [cells for _, cells, problem in first if not problem], self._context.config
        if self._raw.names is not None:
            if wanted.no_header:
                raise UsageError(
                    f"no_header: expected a CSV, got {self.path}, which names its columns; leave it out"
                )
            return choose_layout(self.path, self._raw.names, rows, wanted)
        if wanted.image_column is None and wanted.label_column is None:
            export = find_export(self.path, rows, class_names, multilabel=wanted.multilabel)
            if export is not None and wanted.split_column is not None and export.has_names:
                split = find_column(self.path, rows[0], wanted.split_column, "split_column")
                export = dataclasses.replace(export, split=split)
            if export is not None and (export.has_names or wanted.split_column is None):
                return export
        if wanted.no_header or (rows and any(map(is_image_name, rows[0]))):
            return choose_without_names(self.path, rows, wanted)
        return choose_layout(self.path, rows[0] if rows else [], rows[1:], wanted)

    def _split_named(self, brought: str, number: int) -> str | None:
        split = self._context.split_named(brought)
        if split is None and not self._context.is_no_split(brought):
            raise UsageError(
                f"{self.path}, {self._raw.unit} {number}: unknown split {brought[:80]!r}. Say which one it "
                f"is, e.g. --split-names {brought[:80]}=test, or =none"
            )
        return split

    def _problem(self, cells: Sequence[str]) -> str:
        expected = self.layout.width
        if expected is None or len(cells) == expected:
            return ""
        columns = f"the first line {'names' if self.layout.has_names else 'has'} {expected} columns"
        if len(cells) < expected:
            return f"{len(cells)} fields, and {columns}: add what is missing"
        if any(cells[expected:]):
            delimiter = getattr(self._raw, "delimiter", "")
            return f"{len(cells)} fields, and {columns}: put a field that holds {delimiter!r} in quotes"
        return ""


def _only_label(text: str) -> tuple[str, str]:
    """Return the class in a list of JSON or Python, ['cat'], and "" or why it is not one class."""
    labels = [label.strip(" '\"") for label in text.strip("[]").split(",")]
    if not text.endswith("]") or not all(labels):
        return text, ""
    if len(labels) > 1:
        return "", f"several classes ({format_some(labels, 3)}): {SEVERAL_LABELS}"
    return labels[0], ""
