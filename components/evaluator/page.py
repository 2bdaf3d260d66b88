"""The page of the Evaluator: the blessing, the overall metrics with their bounds, and the task's part."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from components.base.intervals import Interval
from components.base.outcome import Output
from components.base.words import format_count
from components.evaluator.bounds import COMMON, format_beside
from components.evaluator.evaluation import Evaluation, read_mistakes
from components.evaluator.stored import load_evaluation
from components.pages.markup import Cell, Html, Measure, keep_on_line, make_table, render_part
from components.pages.page import Page
from components.pages.protocol import task_page
from components.pages.tables import format_interval

_INTERVALS = (
    "95 %: the confidence interval, since the test split is a sample. Wilson's score for shares of "
    "images, the percentile bootstrap over images for other metrics; a dash where neither says anything."
)
# Metrics without a bound that are shown at once.
_FIRST = 5
# The bounds of metrics by name: in words, and as values.
_Bounds = dict[str, tuple[str, list[float]]]


def fill_page(page: Page, outputs: Mapping[str, Output]) -> None:
    """Show what TFMA measured on the test split."""
    folder = outputs["evaluation"].uri
    found = load_evaluation(folder)
    page.metrics.update(found.metrics)
    if "blessing" in outputs:
        is_blessed = outputs["blessing"].properties.get("blessed") == 1
        page.add_verdict(is_blessed, "blessed" if is_blessed else "not blessed")
    if found.failures:
        page.add_list(found.failures)
    elif found.blessed:
        page.add_text("Every threshold was met.")
    for warning in found.warnings:
        page.add_text(f"Warning: {warning}.")
    with page.part("Metrics on the test split"):
        show_metrics(page, folder)
    show_test(page, folder)


def show_test(page: Page, folder: str) -> None:
    """Add what the task shows of the test split, and the slices."""
    found = load_evaluation(folder)
    task_page(page).show_evaluation(page, folder, found.per_class)
    if found.slices:
        with page.part("Slices"):
            _show_slices(page, found)


def _show_slices(page: Page, found: Evaluation) -> None:
    names = list(dict.fromkeys(name for values in found.slices.values() for name in values))
    rows: list[list[Cell]] = [
        [slice_name, *(_measure(values, name) for name in names)]
        for slice_name, values in found.slices.items()
    ]
    whole: list[Cell] = ["all images", *(_measure(found.metrics, name) for name in names)]
    page.add(make_table(["slice", *names], [*rows, whole], best=len(rows), sortable=True))
    page.add_note("The overall metrics on the images of each slice; a dash: nothing to measure.")


def _measure(values: Mapping[str, float], name: str) -> Measure | None:
    return Measure(values[name]) if name in values else None


def show_metrics(page: Page, folder: str) -> None:
    """Add the overall metrics with their intervals and bounds, next to those of the baseline."""
    found = load_evaluation(folder)
    bounds = _join_bounds(found.bounds, COMMON) if found.common is None else found.bounds
    intervals = found.intervals
    first = [name for place, name in enumerate(found.metrics) if place < _FIRST or name in bounds]
    metrics = {name: found.metrics[name] for name in first}
    if metrics:
        page.add(_make_metrics_table(metrics, found.baseline, bounds, intervals))
    else:
        page.add_note("Nothing was measured.")
    if others := {name: value for name, value in found.metrics.items() if name not in metrics}:
        more = _make_metrics_table(others, found.baseline, bounds, intervals)
        page.add(render_part("details", f"{format_count(others, 'more metric')}", more))
    if intervals:
        page.add_note(_INTERVALS)
    if found.example_count:
        page.add_note(f"{format_count(found.example_count, 'image')}.")
    if mistakes := read_mistakes(folder):
        page.add_note(f"mistakes.csv lists {format_count(mistakes, 'image')} with mistakes: {folder}")
    if not found.baseline and found.common is None:
        page.add_note("There was no baseline to compare with.")
    if found.common is not None:
        with page.part("Compared with the baseline"):
            page.add_text(f"The baseline knows other classes, so both models are compared on {found.common}.")
            of_common = {
                name.removeprefix(COMMON): bound for name, bound in bounds.items() if name.startswith(COMMON)
            }
            page.add(_make_metrics_table(found.common.metrics, found.common.baseline, of_common))


def _make_metrics_table(
    metrics: Mapping[str, float],
    baseline: Mapping[str, float],
    bounds: _Bounds,
    intervals: Mapping[str, Interval] = MappingProxyType({}),
) -> Html:
    rows: list[list[Cell]] = []
    for name, value in metrics.items():
        words, limits = bounds.get(name, ("", []))
        row: list[Cell] = [name, _format_beside(value, limits)]
        row += [format_interval(intervals.get(name))] if intervals else []
        row.append(keep_on_line(words))
        if name in baseline:
            row += [Measure(baseline[name]), f"{value - baseline[name]:+.4f}"]
        elif baseline:
            row += [None, None]
        rows.append(row)
    header = ["metric", "model", *(["95 %"] if intervals else []), "bound"]
    return make_table([*header, *(["baseline", "change"] if baseline else [])], rows)


def _join_bounds(bounds: _Bounds, prefix: str) -> _Bounds:
    """Return bounds by metric without a prefix: where both models know the same classes, one row has both."""
    found: _Bounds = {}
    # The absolute bounds first: the configuration has its metrics in any order.
    for name, (words, limits) in sorted(bounds.items(), key=lambda item: item[0].startswith(prefix)):
        known, known_limits = found.get(name.removeprefix(prefix), ("", []))
        joined = ", ".join(part for part in (known, words) if part)
        found[name.removeprefix(prefix)] = joined, [*known_limits, *limits]
    return found


def _format_beside(value: float, limits: Sequence[float]) -> Cell:
    """Return a value with as many digits as show on which side of its bounds it is."""
    longest = max((format_beside(value, limit) for limit in limits), key=len, default="")
    return longest if len(longest) > len(f"{value:.4f}") else Measure(value)
