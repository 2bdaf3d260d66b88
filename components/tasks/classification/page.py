"""The parts of the pages that only classification has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.pages.charts import COLOURS, Curve, make_line_chart
from components.pages.markup import Cell, Html, escape, make_table
from components.pages.page import Page
from components.pages.protocol import Record
from components.pages.records import make_thumbnail as make_plain_thumbnail
from components.pages.rendered import ConfusionMatrix, Roc
from components.pages.tables import show_classes
from schemas import features

if TYPE_CHECKING:
    from components.tasks.classification.plots import Plots

EXAMPLES_NOTE = ""
COUNTS_HEADING = "Classes by split"
CURVES = (("accuracy", "Accuracy"),)
MISTAKES = ("Misclassified eval images", "The mistakes with the highest scores.")

# Most classes in a confusion matrix: as a table with numbers, and as data for Kubeflow's UI.
_MOST_IN_TABLE, _MOST_IN_MATRIX = 25, 100
_MOST_CONFUSIONS = 30
_RIGHT, _WRONG = "47,109,179", "214,69,65"


def read_classes(record: Record) -> list[str]:
    """Return the class of a record."""
    name = b"".join(record.get(features.LABEL_TEXT, [])[:1]).decode("utf-8", "replace")
    return [name or "(no class)"]


def make_thumbnail(page: Page, record: Record) -> Html:
    """Return a small image of a record."""
    return make_plain_thumbnail(page, record[features.ENCODED][0])


def show_statistics(page: Page, examples: Mapping[str, int], stats: Mapping[str, Mapping[str, Any]]) -> None:
    """Add nothing: a class per image is all that there is."""


def show_gate(page: Page, folder: str, report: Mapping[str, Any]) -> None:
    """Add nothing: DataGate only decodes the images."""


def show_evaluation(page: Page, folder: str, per_class: Mapping[int, Mapping[str, float | None]]) -> None:
    """Add the confusion matrix, the ROC curve, and the classes."""
    from components.tasks.classification.plots import Plots, read_plots

    plots = Plots({}, [])
    with page.part():
        plots = read_plots(folder)
    with page.part("Confusion matrix"):
        _show_confusion(page, plots)
    with page.part("ROC curve"):
        _show_roc(page, plots)
    with page.part("Classes"):
        images = dict.fromkeys(per_class, 0) if plots.confusion else {}
        for (true, _), count in plots.confusion.items():
            images[true] = images.get(true, 0) + count
        show_classes(
            page,
            per_class,
            ("precision", "recall", "f1", "auc"),
            worst_by="f1",
            counted="test images",
            counts=images,
            format_measure=_shade,
        )


def _shade(share: float | None) -> Cell:
    """Return a share on a background that is redder the lower it is."""
    if share is None:
        return None
    return Html(f'<span style="{_colour(1.0 - share, _WRONG, 0.75)};padding:0 4px">{share:.4f}</span>')


def _colour(share: float, rgb: str, most: float = 1.0) -> str:
    # The square root keeps small shares visible.
    return f"background:rgba({rgb},{most * math.sqrt(max(0.0, min(1.0, share))):.3f})"


def _show_confusion(page: Page, plots: Plots) -> None:
    if not plots.confusion:
        page.add_note("The evaluation has no confusion matrix.")
        return
    unknown = sum(count for (_, predicted), count in plots.confusion.items() if predicted < 0)
    if unknown:
        page.add_note(f"{unknown:,} images are left out: their probabilities are not numbers.")
    names = page.class_names
    if len(names) <= _MOST_IN_MATRIX:
        places = range(len(names))
        counts = [[plots.confusion.get((true, predicted), 0) for predicted in places] for true in places]
        page.confusion = ConfusionMatrix(tuple(names), counts)
        if len(names) <= _MOST_IN_TABLE:
            page.add(_make_confusion_table(names, counts))
            page.add_note(
                "Rows are true classes, columns are predicted classes. Blue is right, red is wrong; a darker "
                "cell is a larger share of its row."
            )
    wrong = [
        (count, true, predicted)
        for (true, predicted), count in plots.confusion.items()
        if true != predicted and predicted >= 0
    ]
    wrong.sort(key=lambda item: (-item[0], item[1:]))
    if not wrong:
        page.add_text("Every image was classified correctly.")
        return
    page.add_text("The most frequent confusions:")
    most = 10 if len(names) <= _MOST_IN_TABLE else _MOST_CONFUSIONS
    rows: list[list[Cell]] = [
        [page.class_name(true), page.class_name(taken), count] for count, true, taken in wrong[:most]
    ]
    page.add(make_table(["true class", "taken for", "images"], rows))


def _make_confusion_table(class_names: Sequence[str], counts: Sequence[Sequence[int]]) -> Html:
    head = "".join(f'<th title="{escape(name)}"><span>{escape(name)}</span></th>' for name in class_names)
    rows = []
    for true, row in enumerate(counts):
        total = sum(row) or 1
        cells = []
        for predicted, count in enumerate(row):
            share = count / total
            style = _colour(share, _RIGHT if true == predicted else _WRONG) if count else "background:#f6f8fa"
            white = ";color:#fff" if true == predicted and share > 0.3 else ""
            words = f"{class_names[true]} taken for {class_names[predicted]}: {share:.1%}"
            cells.append(f'<td style="{style}{white}" title="{escape(words)}">{count or ""}</td>')
        name = escape(class_names[true])
        rows.append(f'<tr><th title="{name}">{name}</th>{"".join(cells)}</tr>')
    return Html(
        f'<div class="wide"><table class="confusion"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _show_roc(page: Page, plots: Plots) -> None:
    if not plots.roc:
        page.add_note("The evaluation has no ROC curve.")
        return
    is_binary = len(page.class_names) == 2
    of = (
        f"class {page.class_names[1]} against {page.class_names[0]}"
        if is_binary
        else "micro-average: every class against the rest, each probability as one decision"
    )
    fpr, tpr, thresholds = (list(values) for values in zip(*plots.roc, strict=True))
    page.roc = Roc(fpr, tpr, thresholds, of)
    curves = [
        Curve("chance", [(0.0, 0.0), (1.0, 1.0)], "#9aa5b1", dashed=True),
        Curve("model", list(zip(fpr, tpr, strict=True)), COLOURS["train"]),
    ]
    chart = make_line_chart(
        "True positives by false positives",
        curves,
        "share of false positives",
        x_range=(0.0, 1.0),
        y_range=(0.0, 1.0),
        height=380,
    )
    page.add(Html(f'<div style="max-width:460px">{chart}</div>'))
    page.add_note(of[0].upper() + of[1:] + ".")
    if len(page.class_names) > 2:
        page.add_note(
            "The metric auc is the mean of the areas of all classes, not the area under this curve."
        )
