"""Runs as text: the table of `mirante runs`, and the comparison of `mirante compare`."""

from collections.abc import Iterator, Sequence
from typing import Any

from components.base.printable import printable
from components.base.words import format_count, format_some, wrap_text
from pipeline.history.compare import SIGNIFICANCE, Comparison, Pair
from pipeline.history.runs import PastRun

_GAP = "  "
_NAMES_SHOWN = 5
_HEADER = ("run", "status", "took", "data", "metric", "where")


def format_runs(runs: Sequence[PastRun]) -> str:
    """Return a table of runs, one line each."""
    rows = [_HEADER, *(_format_run(run) for run in runs)]
    return "\n".join(_columns(rows))


def format_comparison(comparison: Comparison) -> str:
    """Return runs side by side, one column each; differences are from the first run."""
    return "\n".join(_lines(comparison))


def _format_run(run: PastRun) -> tuple[str, ...]:
    took = run.result.get("wall_seconds")
    return (
        run.run_id,
        run.status,
        "" if took is None else f"{took:.0f} s",
        printable(_format_data(run)),
        ", ".join(f"{name} {value:.4f}" for name, value in run.main_metric.items()),
        printable(str(run.pushed_model or run.root)),
    )


def _format_data(run: PastRun) -> str:
    images = run.data.get("images") or {}
    counted = f", {sum(images.values()):,} images" if images else ""
    return f"{run.data.get('source', '')}{counted}"


def _lines(comparison: Comparison) -> Iterator[str]:
    runs = comparison.runs
    rows: list[tuple[str, ...]] = [
        ("run", *(run.run_id for run in runs)),
        ("root", *(printable(str(run.root)) for run in runs)),
        ("status", *(run.status for run in runs)),
        ("data", *(printable(_format_data(run)) for run in runs)),
    ]
    rows += [
        (name, *(_format_metric(value, values[0], at == 0) for at, value in enumerate(values)))
        for name, values in comparison.metrics.items()
    ]
    yield from _columns(rows)
    if comparison.settings:
        yield "settings that differ"
        yield from _columns(
            [
                (f"{_GAP}{key}", *(printable("null" if value is None else str(value)) for value in values))
                for key, values in comparison.settings.items()
            ]
        )
    for pair in comparison.pairs:
        yield from _format_pair(runs[0].run_id, pair)


def _format_metric(value: float | None, first: float | None, is_first: bool) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if is_first or first is None else f"{value:.4f} ({value - first:+.4f})"


def _format_pair(first: str, pair: Pair) -> Iterator[str]:
    yield f"test images of {pair.run_id} against {first}"
    if pair.p_value is None:
        yield from _wrap(f"not compared: {pair.why_not}")
        return
    is_beyond = pair.p_value < SIGNIFICANCE
    yield from _wrap(
        f"{pair.share} differs {'by more than chance' if is_beyond else 'by no more than chance'} "
        f"(McNemar's exact test, p = {pair.p_value:.2g})"
    )
    for run_id, names in ((first, pair.only_first_right), (pair.run_id, pair.only_other_right)):
        shown = f": {printable(format_some(names, _NAMES_SHOWN))}" if names else ""
        yield from _wrap(f"only {run_id} gets {format_count(len(names), 'image')} right{shown}")
    yield from _wrap(f"both get {format_count(pair.both_wrong, 'image')} wrong")
    for name, interval in pair.differences.items():
        yield from _wrap(
            f"{name} differs by {'no more' if interval.low <= 0 <= interval.high else 'more'} than chance "
            f"(paired bootstrap, 95 %: {interval.low:+.4f} to {interval.high:+.4f})"
        )


def _wrap(text: str) -> list[str]:
    return wrap_text(text, _GAP, 2 * _GAP).splitlines()


def _columns(rows: Sequence[Sequence[Any]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        _GAP.join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
