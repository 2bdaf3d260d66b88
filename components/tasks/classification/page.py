"""The parts of the pages that only classification has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.base.words import format_count
from components.pages.markup import Html, Share, render, render_part
from components.pages.page import Page
from components.pages.protocol import Record, Tested
from components.pages.records import make_thumbnail as make_plain_thumbnail
from components.pages.rendered import ConfusionMatrix
from components.pages.tables import show_classes
from schemas import features

if TYPE_CHECKING:
    from components.tasks.classification.figures import Figures
    from components.tasks.classification.page_mistakes import Mistake

EXAMPLES_NOTE = ""
COUNTS_HEADING = "Classes by split"
CURVES = (("accuracy", "Accuracy"),)
MISTAKES = ("Misclassified eval images", "The mistakes with the highest scores.")

# Most classes in a confusion matrix: as a table with numbers, and as data for Kubeflow's UI.
_MOST_IN_TABLE, _MOST_IN_MATRIX = 25, 100
_CONFUSION = Path(__file__).with_name("confusion.html")


def read_classes(record: Record) -> list[str]:
    """Return the class of a record."""
    name = b"".join(record.get(features.LABEL_TEXT, [])[:1]).decode("utf-8", "replace")
    return [name or "(no class)"]


def make_thumbnail(page: Page, record: Record, alt: str = "") -> Html:
    """Return a small image of a record."""
    return make_plain_thumbnail(page, record[features.ENCODED][0], alt)


def show_statistics(page: Page, examples: Mapping[str, int], stats: Mapping[str, Mapping[str, Any]]) -> None:
    """Add nothing: a class per image is all that there is."""


def show_gate(page: Page, folder: str, report: Mapping[str, Any]) -> None:
    """Add nothing: DataGate only decodes the images."""


def show_wrong(page: Page, wrong: Tested, right: Tested, images: Sequence[str]) -> None:
    """Add images that were misclassified, with their classes."""
    from components.evaluator.page_mistakes import show_some
    from components.tasks.classification.page_mistakes import read_mistakes

    show_some(page, read_mistakes(page, wrong.evaluation), images)


def show_evaluation(page: Page, folder: str, per_class: Mapping[int, Mapping[str, float | None]]) -> None:
    """Add the confusion matrix, the classes, curves, calibration, and mistakes."""
    from components.tasks.classification.figures import Figures, read_figures
    from components.tasks.classification.page_curves import show_calibration, show_curves
    from components.tasks.classification.page_mistakes import read_mistakes, show_worst

    figures, mistakes = Figures(), []
    with page.part():
        figures = read_figures(folder)
    with page.part():
        mistakes = read_mistakes(page, folder)
    with page.part("Confusion matrix"):
        _show_confusion(page, figures, mistakes)
    with page.part("Classes"):
        _show_classes(page, figures, per_class)
    with page.part("ROC curve, and precision by recall"):
        show_curves(page, figures)
    with page.part("Calibration"):
        show_calibration(page, figures)
    with page.part("The worst mistakes"):
        show_worst(page, mistakes)


def _show_classes(page: Page, figures: Figures, per_class: Mapping[int, Mapping[str, float | None]]) -> None:
    images = dict.fromkeys(per_class, 0) if figures.confusion else {}
    for true, _, count in figures.confusion:
        images[true] = images.get(true, 0) + count
    show_classes(
        page,
        per_class,
        ("precision", "recall", "f1", "auc"),
        worst_by="f1",
        counted="test images",
        counts=images,
        format_measure=lambda value: None if value is None else Share(value),
        intervals=("recall", figures.recall_intervals),
    )
    if not figures.recall_intervals:
        return
    page.add_note(
        "Recall is the accuracy on the slice of a class; next to it is its 95 % interval (Wilson). A "
        "dash: there is nothing to divide by."
    )
    accuracy = _find_accuracy(figures)
    behind = [
        page.class_name(index)
        for index, interval in figures.recall_intervals.items()
        if accuracy is not None and interval.high < accuracy
    ]
    if behind:
        page.add_text(
            f"Slices that fall behind: the interval of the recall is below the accuracy of {accuracy:.4f} "
            f"for {', '.join(behind[:20])}{', ...' if len(behind) > 20 else ''}."
        )


def _find_accuracy(figures: Figures) -> float | None:
    total = sum(count for _, _, count in figures.confusion)
    right = sum(count for true, predicted, count in figures.confusion if true == predicted)
    return right / total if total else None


def _show_confusion(page: Page, figures: Figures, mistakes: Sequence[Mistake]) -> None:
    from components.tasks.classification.page_mistakes import list_behind, show_pairs

    if not figures.confusion:
        page.add_note("The evaluation has no confusion matrix.")
        return
    unknown = sum(count for _, predicted, count in figures.confusion if predicted < 0)
    if unknown:
        left_out = format_count(unknown, "image is", "images are")
        page.add_note(f"{left_out} left out and count as wrong: not all probabilities are numbers.")
    names = page.shown_names
    counted = {(true, predicted): count for true, predicted, count in figures.confusion}
    places = range(len(names)) if len(names) <= _MOST_IN_MATRIX else ()
    counts = [[counted.get((true, predicted), 0) for predicted in places] for true in places]
    if counts:
        page.confusion = ConfusionMatrix(tuple(names), counts)
    wrong = [
        (count, true, predicted)
        for (true, predicted), count in counted.items()
        if true != predicted and predicted >= 0
    ]
    wrong.sort(key=lambda item: (-item[0], item[1:]))
    behind = list_behind(page, wrong, mistakes)
    if len(names) <= _MOST_IN_TABLE:
        links = {pair for pair, found in behind.items() if found["images"] or found["names"]}
        page.add(render(_CONFUSION, names=names, rows=_shade(counts), links=links))
        page.add_note(
            "Rows are true classes, columns are predicted classes. Blue is right, red is wrong; a stronger "
            "cell is a larger share of its row."
        )
    else:
        page.add(_draw_confusion(len(names), counted))
    if not wrong:
        if not unknown:
            page.add_text("Every image was classified correctly.")
        return
    page.add_text("The most frequent confusions:")
    show_pairs(page, behind, len(wrong))


def _shade(counts: Sequence[Sequence[int]]) -> list[list[tuple[int, float]]]:
    """Return the cells with their shares of the row."""
    return [[(count, count / (sum(row) or 1)) for count in row] for row in counts]


def _draw_confusion(classes: int, counted: Mapping[tuple[int, int], int]) -> Html:
    import numpy as np

    from components.pages.charts import colour_of, drawing, to_svg

    totals: dict[int, int] = {}
    for (true, _), count in counted.items():
        totals[true] = totals.get(true, 0) + count
    shares = np.zeros([classes, classes])
    for (true, predicted), count in counted.items():
        if predicted >= 0:
            shares[true, predicted] = count / totals[true]
    title = "Share of each true class that was taken for each class"
    with drawing(4.7, 4.4) as (figure, axes):
        from matplotlib.colors import to_rgb

        pixels = np.zeros([classes, classes, 4])
        pixels[..., :3] = to_rgb(colour_of("wrong"))
        np.einsum("iij->ij", pixels)[:, :3] = to_rgb(colour_of("right"))
        pixels[..., 3] = np.sqrt(shares)
        axes.grid(visible=False)
        axes.imshow(pixels, interpolation="nearest")
        axes.set_xlabel("index of the predicted class")
        axes.set_ylabel("index of the true class")
        svg = to_svg(figure, f"Chart. {title}; the most frequent confusions are listed below it")
    return render_part("side_by_side", [render_part("chart", title, [], svg)])
