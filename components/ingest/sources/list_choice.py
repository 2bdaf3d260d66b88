"""Which of the lists in INPUT are read, each with its split."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.base.errors import UsageError
from components.base.printable import printable
from components.base.words import format_some
from components.ingest.sources.context import SourceContext
from components.ingest.sources.csv_lines import CsvLines
from components.ingest.sources.list_layouts import NoImagesError
from components.ingest.sources.list_table import SUFFIXES, Table

_LISTS_SHOWN = 5
# Lists that are opened to find those with images and classes; the files of one list count once.
_MOST_LISTS = 100
# Kaggle's, with answers that are to be replaced.
_SUBMISSION = re.compile(
    r"(sample|example|gender|dummy).?submission|submission.?(sample|format)", re.IGNORECASE
)
# What Open Images calls the list of its classes.
_CLASSES = re.compile(r"class-descriptions", re.IGNORECASE)
# The end of the name of a list that is in several files; Hugging Face has added a digest to it.
_PART = re.compile(r"[-_]\d+-of-\d+(-[0-9a-f]{16})?$")


@dataclasses.dataclass(frozen=True)
class Choice:
    """The lists in INPUT.

    Attributes:
        tables: Those to read, each with the split that its name or folder tells where there are several.
        left_out: Why the others are not read.
    """

    tables: Sequence[tuple[Table, str | None]]
    left_out: Mapping[Path, str]

    def report(self, context: SourceContext) -> None:
        """Warn about lists that are left out, and about layouts that had to be guessed."""
        names = [table.path.name for table, _ in self.tables]
        for path, reason in self.left_out.items():
            context.index.leave_out(path.relative_to(context.root).as_posix(), reason)
        if self.left_out:
            shown = [f"{printable(path.name)} ({reason})" for path, reason in self.left_out.items()]
            read = f"{format_some(map(printable, names), _LISTS_SHOWN)} {'is' if len(names) == 1 else 'are'}"
            context.index.warn(f"Left out: {format_some(shown, _LISTS_SHOWN)}; {read} read.")
        for table, _ in self.tables:
            if table.layout.note:
                context.index.warn(printable(table.layout.note))


def choose_lists(context: SourceContext) -> Choice:
    """Return the lists to read.

    Raises:
        UsageError: There is no list, or it is not clear which ones are meant.
        DataRefusedError: A list is broken.
    """
    paths = [
        context.root / entry.path
        for entry in context.index.files
        if entry.path.lower().endswith(SUFFIXES) and not entry.problem
    ]
    class_names = _read_class_names([path for path in paths if _CLASSES.search(path.name)])
    if context.input_file is not None:
        return Choice([(Table(context, context.input_file, class_names), None)], {})
    found = [path for path in paths if not _CLASSES.search(path.name)]
    if not found:
        raise UsageError(
            f"{context.shown}: no list in it ({', '.join(SUFFIXES)}); give the list itself, or a folder that "
            "holds it"
        )
    kinds = {(path.parent, _PART.sub("", path.stem)) for path in found}
    if len(kinds) > _MOST_LISTS:
        raise UsageError(
            f"{context.shown}: {len(kinds):,} lists in it, and at most {_MOST_LISTS} are looked at; give the "
            "one to read as INPUT"
        )
    tables, left_out = _open_with_classes(context, found, class_names)
    if len(tables) == 1:
        return Choice([(tables[0], None)], left_out)
    splits = [_split_of(context, table.path) for table in tables]
    names = {
        (split, None if _PART.sub("", table.path.stem) == table.path.stem else table.path)
        for split, table in zip(splits, tables, strict=True)
    }
    if None in splits or len(names) < len(tables):
        shown = sorted(table.path.relative_to(context.root).as_posix() for table in tables)
        raise UsageError(
            f"{context.shown}: {len(tables)} lists in it ({format_some(shown, _LISTS_SHOWN)}); give the one "
            "to read as INPUT, or have their names begin with their splits, as in train_labels.csv and "
            "test_labels.csv"
        )
    return Choice(list(zip(tables, splits, strict=True)), left_out)


def _open_with_classes(
    context: SourceContext, paths: Sequence[Path], class_names: Mapping[str, str]
) -> tuple[list[Table], dict[Path, str]]:
    """Return the lists that name images and classes, and why the others do not count."""
    tables: list[Table] = []
    reasons: dict[Path, str] = {}
    problem: NoImagesError | None = None
    for path in paths:
        if _SUBMISSION.search(path.name) and len(paths) > 1:
            reasons[path] = "a sample of answers, not labels"
            continue
        try:
            tables.append(Table(context, path, class_names))
        except NoImagesError as error:
            problem = problem or error
            reasons[path] = "a list without images and classes"
    # A column that is taken only because no other is left has to be the same in all lists.
    sure = {table.label_name for table in tables if not table.layout.guessed}
    if sure:
        for table in [one for one in tables if one.layout.guessed and one.label_name not in sure]:
            tables.remove(table)
            reasons[table.path] = "a list without a column of the classes that the other lists have"
    if not tables:
        raise problem or UsageError(f"{context.shown}: no list in it but samples of answers; give the list")
    return tables, reasons


def _split_of(context: SourceContext, path: Path) -> str | None:
    """Return the split that the words of a list's name tell, else the folder that it is in."""
    words = re.findall(r"[A-Za-z]+", path.stem)
    if first := context.split_named(words[0] if words else ""):
        return first
    splits = {split for word in words if (split := context.split_named(word))}
    if len(splits) == 1:
        return splits.pop()
    folders = path.relative_to(context.root).parts[:-1]
    return next(filter(None, map(context.split_named, reversed(folders))), None)


def _read_class_names(paths: Sequence[Path]) -> dict[str, str]:
    """Return the names of Open Images' classes by their identifiers, such as /m/011k07."""
    names: dict[str, str] = {}
    for path in paths:
        for _, cells, _ in CsvLines(path).rows():
            if len(cells) == 2 and cells[0].startswith("/"):
                names[cells[0]] = cells[1]
    return names
