"""Figures of an evaluation on a page: classes with thresholds, curves, and pairs of classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.pages.charts import CHANCE, LINES, Curve, make_line_chart, put_side_by_side
from components.pages.markup import Cell, Measure, Share, make_bar, make_table, render
from components.pages.page import Page
from components.pages.tables import MOST_CLASSES, format_interval
from components.tasks.multilabel.figures import ClassCurve, Figures

_TOGETHER = Path(__file__).with_name("together.html")
_SQUARE: dict[str, Any] = {"x_range": (0.0, 1.0), "y_range": (0.0, 1.0), "height_in": 3.0}
# Classes with a chart of their own; most classes in a table of pairs; most pairs that are listed.
_MOST_CHARTS, _MOST_IN_TABLE, _MOST_PAIRS = 12, 25, 20
_MEASURES = ("precision", "recall", "f1", "average_precision", "auc")


def show_classes(page: Page, figures: Figures, per_class: Mapping[int, Mapping[str, float | None]]) -> None:
    """Add a table of classes with their images, thresholds and metrics."""
    indices = list(per_class)
    if not indices:
        page.add_note("Nothing was measured.")
        return
    if len(indices) > MOST_CLASSES:
        indices = sorted(indices, key=lambda index: per_class[index].get("f1") or 0.0)[:MOST_CLASSES]
        page.add_note(f"The {MOST_CLASSES} of {len(per_class):,} classes with the lowest f1, lowest first.")
    rows: list[list[Cell]] = []
    for index in indices:
        row: list[Cell] = [page.class_name(index), _at(figures.images, index)]
        threshold = _at(figures.thresholds, index)
        row.append(None if threshold is None else Measure(threshold))
        for name in _MEASURES:
            value = per_class[index].get(name)
            row.append(None if value is None else Share(value))
            if name == "recall" and figures.recall_intervals:
                row.append(format_interval(figures.recall_intervals.get(index)))
        rows.append(row)
    header = ["class", "test images", "threshold"]
    for name in _MEASURES:
        header += [name.replace("_", " ")]
        header += ["95 %"] if name == "recall" and figures.recall_intervals else []
    page.add(make_table(header, rows, sortable=True))
    page.add_note(
        "An image gets a label if the probability of the class is at least its threshold, which was chosen "
        "on the eval split (training.label_threshold). Precision, recall and f1 are at the threshold; "
        "average precision and auc look at the probabilities alone. Next to recall is its 95 % interval "
        "(Wilson). A dash: there is nothing to divide by."
    )


def _at(values: Any, index: int) -> Any:
    return values[index] if index < len(values) else None


def show_curves(page: Page, figures: Figures) -> None:
    """Add precision by recall of the classes with the lowest average precisions."""
    if not figures.curves:
        page.add_note("The evaluation keeps no probabilities: the split is empty or too large.")
        return
    worst = sorted(figures.curves, key=lambda each: each.average_precision)[:_MOST_CHARTS]
    charts = [
        make_line_chart(
            f"{page.class_name(each.index)}: average precision {each.average_precision:.4f}",
            _list_lines(each),
            "recall",
            y_label="precision",
            **_SQUARE,
        )
        for each in sorted(worst, key=lambda each: each.index)
    ]
    page.add(put_side_by_side(charts))
    page.add_note(
        "The dashed lines cross at the model's threshold of the class"
        + (
            f". The {len(charts)} of {len(page.class_names):,} classes with the lowest average precision."
            if len(charts) < len(page.class_names)
            else "."
        )
    )


def _list_lines(curve: ClassCurve) -> list[Curve]:
    lines = [Curve("model", [(0.0, curve.points[0][1]), *curve.points], LINES[0])]
    if curve.at_threshold is not None:
        recall, precision = curve.at_threshold
        cross = [(0.0, precision), (recall, precision), (recall, 0.0)]
        lines.append(Curve("threshold", cross, CHANCE, dashed=True))
    return lines


def show_cardinality(page: Page, figures: Figures) -> None:
    """Add how many classes images have, and how many they get."""
    if not figures.cardinality:
        page.add_note("Nothing was measured.")
        return
    most = max(count for _, *counts in figures.cardinality for count in counts) or 1
    rows: list[list[Cell]] = [
        [str(number), true, make_bar(true / most, "test"), found, make_bar(found / most, "train")]
        for number, true, found in figures.cardinality
    ]
    page.add(make_table(["classes", "images that have as many", "", "images that get as many", ""], rows))


def show_together(page: Page, figures: Figures) -> None:
    """Add how often classes occur together."""
    names = page.shown_names
    counted = {(one, other): both for one, other, both, _, _ in figures.together}
    if not figures.images or (not counted and len(names) > _MOST_IN_TABLE):
        page.add_note("The evaluation keeps no pairs of classes: the split is empty, or there are too many.")
        return
    if len(names) > _MOST_IN_TABLE:
        rows: list[list[Cell]] = []
        for one, other, both, _, _ in sorted(figures.together, key=lambda pair: (-pair[2], pair)):
            if both and len(rows) < _MOST_PAIRS:
                rows.append([page.class_name(one), page.class_name(other), both])
        page.add(make_table(["class", "and", "images with both"], rows))
        return
    for (one, other), both in list(counted.items()):
        counted[other, one] = both
    counted |= {(index, index): images for index, images in enumerate(figures.images)}
    cells = [
        [
            (count := counted.get((row, column), 0), count / (figures.images[row] or 1))
            for column in range(len(names))
        ]
        for row in range(len(names))
    ]
    page.add(render(_TOGETHER, names=names, rows=cells))
    page.add_note(
        "Test images with the class of the row and that of the column; on the diagonal all images of the "
        "class. A stronger cell is a larger share of the images of its row."
    )


def show_mistaken(page: Page, figures: Figures) -> None:
    """Add the pairs of classes of which one is predicted by mistake where the other one is."""
    found = [
        (count, one, other)
        for first, second, _, of_first, of_second in figures.together
        for count, one, other in ((of_first, first, second), (of_second, second, first))
        if count
    ]
    if not found:
        page.add_note("No class was predicted by mistake on an image with another class.")
        return
    found.sort(key=lambda pair: (-pair[0], pair[1:]))
    rows: list[list[Cell]] = []
    for count, one, other in found[:_MOST_PAIRS]:
        images = _at(figures.images, one)
        share = None if not images else Share(1 - count / images)
        rows.append([page.class_name(one), page.class_name(other), count, share])
    page.add(make_table(["images with", "that get by mistake", "images", "share of images without it"], rows))
    if len(found) > _MOST_PAIRS:
        page.add_note(f"The {_MOST_PAIRS} most frequent of {len(found):,} pairs.")
