"""Makes the page of runs side by side."""

import os
from collections.abc import Sequence
from pathlib import Path

from components.base import files
from components.base.intervals import Interval
from components.base.paths import write_atomically
from components.base.redact import redact
from components.base.words import format_count
from components.pages.charts import LINES, Curve, make_line_chart, put_side_by_side
from components.pages.events import Stage, read_stages
from components.pages.markup import Cell, Html, Measure, format_path, keep_on_line, make_table
from components.pages.page import Page
from components.pages.protocol import Tested, task_page
from pipeline.history.class_names import find_names
from pipeline.history.compare import SIGNIFICANCE, Comparison, Pair
from pipeline.history.runs import PastRun
from pipeline.report.make import start_page
from pipeline.report.sections import find_output
from pipeline.report.verdict import describe_verdict
from schemas import features


def make_comparison(comparison: Comparison, language: str | None = None) -> str:
    """Return runs side by side as HTML; what cannot be read is said on the page.

    Args:
        comparison: The runs.
        language: Of the class names; that of the first run's recipe when None.

    Raises:
        UsageError: The classes have no names in the language.
    """
    runs = comparison.runs
    page = start_page(runs[0], f"{format_count(runs, 'run')} side by side", find_names(runs, language))
    with page.part():
        _show_runs(page, comparison)
    for heading, is_there, show in (
        ("Metrics on the test split", bool(comparison.metrics), _show_metrics),
        ("Test images that one gets right", bool(comparison.pairs), _show_pairs),
        ("Training", any(find_output(run, "Trainer", "model_run") for run in runs), _show_curves),
        ("Settings that differ", True, _show_settings),
    ):
        if is_there:
            with page.section(heading):
                show(page, comparison)
    return redact(page.render().html)


def write_comparison(comparison: Comparison, path: Path, language: str | None = None) -> None:
    """Write the page of runs side by side.

    Raises:
        OSError: It cannot be written.
        UsageError: The classes have no names in the language.
    """
    write_atomically(path, make_comparison(comparison, language).encode("utf-8", "replace"))


def _show_runs(page: Page, comparison: Comparison) -> None:
    rows: list[list[Cell]] = [
        [name, run.run_id, format_path(str(run.root)), run.status, describe_verdict(run)]
        for name, run in zip(_name_runs(comparison.runs), comparison.runs, strict=True)
    ]
    page.add(make_table(["", "run", "root", "status", "how it ended"], rows))
    for name, pair in zip(_name_runs(comparison.runs)[1:], comparison.pairs, strict=True):
        page.add_text(_describe_pair(name, pair))


def _name_runs(runs: Sequence[PastRun]) -> list[str]:
    """Return a short name for each run: A, B, ... and then numbers."""
    return [chr(ord("A") + place) if place < 26 else str(place + 1) for place in range(len(runs))]


def _describe_pair(name: str, pair: Pair) -> str:
    if pair.p_value is None:
        return f"A and {name} were not compared image by image: {pair.why_not}."
    more = "more" if pair.p_value < SIGNIFICANCE else "no more"
    of_first, of_other = (
        format_count(len(images), "image") for images in (pair.only_first_right, pair.only_other_right)
    )
    return (
        f"A and {name} differ in {pair.share} by {more} than chance (McNemar's exact test, "
        f"p = {pair.p_value:.2g}): only A gets {of_first} right, only {name} {of_other}, and both get "
        f"{format_count(pair.both_wrong, 'image')} wrong."
    )


def _show_metrics(page: Page, comparison: Comparison) -> None:
    first, *others = _name_runs(comparison.runs)
    header = ["metric", first]
    for name, pair in zip(others, comparison.pairs, strict=True):
        header += [name, f"{name} - {first}", *(["95 %"] if pair.differences else [])]
    rows: list[list[Cell]] = []
    for metric, values in comparison.metrics.items():
        row: list[Cell] = [metric, None if values[0] is None else Measure(values[0])]
        for value, pair in zip(values[1:], comparison.pairs, strict=True):
            row.append(None if value is None else Measure(value))
            row.append(None if value is None or values[0] is None else f"{value - values[0]:+.4f}")
            if pair.differences:
                row.append(_format_difference(pair.differences.get(metric)))
        rows.append(row)
    page.add(make_table(header, rows))
    if any(pair.differences for pair in comparison.pairs):
        page.add_note(
            "95 %: the interval of the difference, by the paired bootstrap over the test images. With 0 in "
            "it the difference may be chance."
        )


def _format_difference(interval: Interval | None) -> Html | None:
    return None if interval is None else keep_on_line(f"{interval.low:+.4f} to {interval.high:+.4f}")


def _show_pairs(page: Page, comparison: Comparison) -> None:
    names = _name_runs(comparison.runs)
    tested = [_find_tested(name, run) for name, run in zip(names, comparison.runs, strict=True)]
    for place, pair in enumerate(comparison.pairs, start=1):
        if pair.p_value is None:
            page.add_note(_describe_pair(names[place], pair))
            continue
        for right, wrong, images in ((0, place, pair.only_first_right), (place, 0, pair.only_other_right)):
            counted = format_count(len(images), "image")
            with page.part(f"Only {names[right]} is right, {names[wrong]} is wrong: {counted}"):
                of_wrong, of_right = tested[wrong], tested[right]
                if of_wrong is None or of_right is None:
                    page.add_note("No image is shown: a run of an earlier version kept no list of artifacts.")
                else:
                    task_page(page).show_wrong(page, of_wrong, of_right, images)


def _find_tested(name: str, run: PastRun) -> Tested | None:
    """Return where a run keeps its evaluation and test images; None for a run of an earlier version."""
    evaluation, examples = (
        find_output(run, *output)
        for output in (("Evaluator", "evaluation"), ("ImportExampleGen", "examples"))
    )
    if evaluation is None:
        return None
    shards = files.list_below(os.path.join(examples.uri, f"Split-{features.TEST}")) if examples else []
    return Tested(name, evaluation.uri, shards)


def _show_curves(page: Page, comparison: Comparison) -> None:
    stages = [
        read_stages(output.uri) if (output := find_output(run, "Trainer", "model_run")) else []
        for run in comparison.runs
    ]
    names = _name_runs(comparison.runs)
    charts = []
    for tag, heading in (("loss", "Loss"), *task_page(page).CURVES):
        curves = [
            Curve(
                f"{name}, {split}",
                _list_epochs(of_run, f"epoch/{prefix}{tag}"),
                LINES[place % len(LINES)],
                dashed=split == "train",
            )
            for place, (name, of_run) in enumerate(zip(names, stages, strict=True))
            for split, prefix in (("eval", "eval_"), ("train", ""))
        ]
        charts.append(make_line_chart(heading, curves, "epoch"))
    page.add(put_side_by_side(charts))
    page.add_note("Epochs of all stages in turn. A dashed line is of the training images.")


def _list_epochs(stages: Sequence[Stage], tag: str) -> list[tuple[float, float]]:
    values = [value for stage in stages for _, value in stage.curves.get(tag, [])]
    return [(float(epoch), value) for epoch, value in enumerate(values, start=1)]


def _show_settings(page: Page, comparison: Comparison) -> None:
    if not comparison.settings:
        page.add_note("The runs have the same settings.")
        return
    rows: list[list[Cell]] = [
        [key, *("null" if value is None else str(value) for value in values)]
        for key, values in comparison.settings.items()
    ]
    page.add(make_table(["setting", *_name_runs(comparison.runs)], rows))
