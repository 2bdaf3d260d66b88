"""Tables that several pages have, and the order of splits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from components.base.words import format_some
from components.pages.charts import COLOURS, OTHER
from components.pages.markup import Cell, Html, format_path, keep_on_line, make_bar, make_table
from components.pages.page import Page
from schemas import features

if TYPE_CHECKING:
    from components.base.intervals import Interval
    from components.base.outcome import Output

# Most classes in a table for people.
MOST_CLASSES = 60
# Most names of classes in a sentence.
_MOST_NAMES = 20


def find_output(outputs: Mapping[str, Output], key: str) -> Output:
    """Return the output with this name, or the only one.

    Raises:
        LookupError: There is none.
    """
    if key in outputs:
        return outputs[key]
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    raise LookupError(f"the task has no output {key!r}; it has {', '.join(sorted(outputs)) or 'none'}")


def sort_splits(splits: Iterable[str]) -> list[str]:
    """Return train, eval and test, then other splits by name."""
    known = features.SPLITS
    return sorted(splits, key=lambda name: (known.index(name) if name in known else len(known), name))


def count_by_class(page: Page, counts: Mapping[str, Mapping[str, int]], class_names: Sequence[str]) -> Html:
    """Return a table of classes, with the count in each split and a bar for its share of the split.

    Args:
        page: The page that it is for.
        counts: Examples by split and class name.
        class_names: In the order of the labels; beyond `MOST_CLASSES` the table has only the rarest and the
            most frequent classes of the first split.
    """
    splits = list(counts)
    shown = list(class_names)
    if len(shown) > MOST_CLASSES:
        ordered = sorted(shown, key=lambda name: -counts[splits[0]].get(name, 0))
        kept = {*ordered[: MOST_CLASSES // 2], *ordered[-(MOST_CLASSES // 2) :]}
        shown = [name for name in ordered if name in kept]
    totals = {split: max(1, sum(counts[split].values())) for split in splits}
    largest = max(
        (counts[split].get(name, 0) / totals[split] for split in splits for name in shown), default=0.0
    )
    rows: list[list[Cell]] = []
    for name in shown:
        row: list[Cell] = [page.translate(name)]
        for split in splits:
            count = counts[split].get(name, 0)
            share = count / totals[split]
            colour = COLOURS.get(split, OTHER)
            row += [count, make_bar(share / largest if largest else 0.0, colour)]
        rows.append(row)
    header = ["class", *itertools.chain.from_iterable((split, "") for split in splits)]
    words = f"A bar is the class's share of its split; the longest is {largest:.1%}."
    if len(class_names) > MOST_CLASSES:
        words += (
            f" Only the {MOST_CLASSES // 2} most frequent and the {MOST_CLASSES // 2} rarest of "
            f"{len(class_names):,} classes are shown."
        )
    return make_table(header, rows, sortable=True) + Html('<p class="note">{}</p>').format(words)


def show_classes(
    page: Page,
    per_class: Mapping[int, Mapping[str, float | None]],
    measures: Sequence[str],
    *,
    worst_by: str,
    counted: str,
    counts: Mapping[int, int | None],
    format_measure: Callable[[float | None], Cell] = lambda value: value,
    intervals: tuple[str, Mapping[int, Interval]] = ("", {}),
) -> None:
    """Add a table of classes with their measures; beyond `MOST_CLASSES` it has only the worst ones.

    Args:
        page: The page.
        per_class: Measures by class index, 0 for the first class.
        measures: The columns.
        worst_by: The measure that is lowest for the worst classes.
        counted: What `counts` counts, as the heading of its column.
        counts: A number for each class index; None, or none, is a dash.
        format_measure: Makes the cell of a measure.
        intervals: A measure, and its 95 % interval by class index, which gets a column after it.
    """
    indices = list(per_class)
    if not indices:
        page.add_note("Nothing was measured.")
        return
    if len(indices) > MOST_CLASSES:
        indices = sorted(indices, key=lambda index: per_class[index].get(worst_by) or 0.0)[:MOST_CLASSES]
        page.add_note(
            f"The {MOST_CLASSES} of {len(per_class):,} classes with the lowest {worst_by}, lowest first."
        )
    interval_of, by_index = intervals
    rows: list[list[Cell]] = []
    for index in indices:
        row: list[Cell] = [page.class_name(index), counts.get(index)]
        for name in measures:
            row.append(format_measure(per_class[index].get(name)))
            if by_index and name == interval_of:
                row.append(format_interval(by_index.get(index)))
        rows.append(row)
    header = ["class", counted]
    for name in measures:
        header += [name, "95 %"] if by_index and name == interval_of else [name]
    page.add(make_table(header, rows, sortable=True))
    if empty := [page.class_name(index) for index in indices if counts.get(index) == 0]:
        page.add_text(f"Not judged, without {counted}: {format_some(empty, _MOST_NAMES)}.")


def format_interval(interval: Interval | None) -> Html | None:
    """Return an interval in words: 0.9701 to 0.9877, or 3e-05 to 0.0021."""
    if interval is None:
        return None
    return keep_on_line(f"{_format_end(interval.low)} to {_format_end(interval.high)}")


def _format_end(value: float) -> str:
    """Return four decimals; one digit of a number that they would show as 0."""
    shown = f"{value:.4f}"
    return f"{value:.1g}" if value and not float(shown) else shown


def show_model(page: Page, outputs: Mapping[str, Output], found: str, missing: str) -> None:
    """Add the model that a Resolver found after the sentence `found`, or the sentence `missing`."""
    if "model" not in outputs:
        page.add_text(missing)
        return
    page.add_text(found)
    page.add(make_table(["model"], [[format_path(outputs["model"].uri)]]))
