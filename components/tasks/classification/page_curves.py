"""Curves of a classifier's evaluation on a page: ROC, precision by recall, calibration."""

import dataclasses
from typing import Any

from components.base.intervals import Interval, wilson_interval
from components.pages.charts import (
    CHANCE,
    FAINT,
    LINES,
    OTHER,
    Curve,
    colour_of,
    drawing,
    make_line_chart,
    put_side_by_side,
    to_svg,
)
from components.pages.markup import Html, Measure, render_part
from components.pages.page import Page
from components.pages.rendered import Roc
from components.tasks.classification.figures import BINS, ClassCurves, Figures

_SQUARE: dict[str, Any] = {"x_range": (0.0, 1.0), "y_range": (0.0, 1.0), "height_in": 3.4}


def show_curves(page: Page, figures: Figures) -> None:
    """Add the ROC curve and precision by recall."""
    if not figures.roc:
        page.add_note("The evaluation has no ROC curve: it takes images of two classes.")
        return
    is_binary = len(page.class_names) == 2
    of = (
        f"class {page.class_name(1)} against {page.class_name(0)}"
        if is_binary
        else "micro-average: every class against the rest, each probability as one decision"
    )
    fpr, tpr, thresholds = (list(values) for values in zip(*figures.roc, strict=True))
    page.roc = Roc(fpr, tpr, thresholds, of)
    roc = [
        Curve("chance", [(0.0, 0.0), (1.0, 1.0)], CHANCE, dashed=True),
        *([] if is_binary else _list_classes(page, figures, "roc")),
        Curve(
            "model" if is_binary else "micro-average",
            list(zip(fpr, tpr, strict=True)),
            LINES[0] if is_binary else OTHER,
        ),
    ]
    charts = [
        make_line_chart(
            "ROC curve", roc, "share of false positives", y_label="share of true positives", **_SQUARE
        )
    ]
    if figures.curves:
        lines = _list_classes(page, figures, "precision_recall")
        if is_binary:
            lines = [dataclasses.replace(lines[0], name="model")]
        charts.append(make_line_chart("Precision by recall", lines, "recall", y_label="precision", **_SQUARE))
    page.add(put_side_by_side(charts))
    page.add_note(of[0].upper() + of[1:] + ".")
    if not is_binary:
        page.add_note(
            "The metric auc is the mean of the areas of all classes, not the area under the micro-average."
        )
    if figures.curves:
        listed = ", ".join(
            f"{page.class_name(each.index)} {each.average_precision:.4f}" for each in _sort_worst(figures)[:4]
        )
        page.add_note(
            f"Average precision: {listed}." if is_binary else f"The lowest average precisions: {listed}."
        )


def _sort_worst(figures: Figures) -> list[ClassCurves]:
    return sorted(figures.curves, key=lambda each: each.average_precision)


def _list_classes(page: Page, figures: Figures, name: str) -> list[Curve]:
    """Return the curves of the classes, the worst of them in colours."""
    worst = _sort_worst(figures)[: len(LINES) - 1]
    others = [each for each in figures.curves if each not in worst]
    return [
        *(Curve("other classes", getattr(each, name), FAINT) for each in others),
        *(
            Curve(page.class_name(each.index), getattr(each, name), colour)
            for each, colour in zip(worst, LINES, strict=False)
        ),
    ]


def show_calibration(page: Page, figures: Figures) -> None:
    """Add the calibration curve with the expected calibration error."""
    if figures.ece is None:
        page.add_note(
            "The evaluation keeps no probabilities: it is of an earlier version, or too large."
            if any(predicted >= 0 for _, predicted, _ in figures.confusion)
            else "No image has probabilities that are numbers."
        )
        return
    page.add_cards([("expected calibration error (ECE)", Measure(figures.ece))])
    page.add(put_side_by_side([_draw_calibration(figures)]))
    page.add_note(
        f"The images in {BINS} bins of equal width by the probability of their predicted class: the share "
        "of right answers in each by its mean probability, and below the number of images. On the "
        "diagonal probabilities mean what they say; below it the model is too sure. The bars are 95 % "
        "intervals (Wilson). ECE is the mean distance from the diagonal, weighted by images."
    )


def _draw_calibration(figures: Figures) -> Html:
    title = "Share of right answers by probability"
    with drawing(4.7, 4.2) as (figure, axes):
        axes.remove()
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        above.plot([0, 1], [0, 1], color=colour_of(CHANCE), linestyle="--", linewidth=1.0)
        accuracies = [each.accuracy for each in figures.bins]
        intervals = [
            wilson_interval(round(each.accuracy * each.images), each.images) or Interval(0.0, 1.0, "")
            for each in figures.bins
        ]
        above.errorbar(
            [each.confidence for each in figures.bins],
            accuracies,
            yerr=[
                [value - each.low for value, each in zip(accuracies, intervals, strict=True)],
                [each.high - value for value, each in zip(accuracies, intervals, strict=True)],
            ],
            fmt="o",
            markersize=4.5,
            elinewidth=1.2,
            color=colour_of(LINES[0]),
        )
        above.set_ylim(-0.02, 1.02)
        above.set_xlim(-0.02, 1.02)
        above.set_ylabel("share of right answers")
        below.bar(
            [each.low for each in figures.bins],
            [each.images for each in figures.bins],
            width=1 / BINS,
            align="edge",
            color=colour_of(FAINT),
        )
        below.set_ylabel("images")
        below.set_xlabel("probability of the predicted class")
        parts = "; ".join(
            f"{each.accuracy:.2f} at {each.confidence:.2f} ({each.images})" for each in figures.bins
        )
        svg = to_svg(figure, f"Chart. {title}: {parts}")
    legend = [("model", LINES[0], False), ("perfectly calibrated", CHANCE, True)]
    return render_part("chart", title, legend, svg)
