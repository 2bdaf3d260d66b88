"""The parts of the pages that only multilabel classification has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.pages.markup import Cell, Html, make_table
from components.pages.page import Page
from components.pages.protocol import Record, Tested
from components.pages.records import make_thumbnail as make_plain_thumbnail
from components.pages.tables import sort_splits
from schemas import features

EXAMPLES_NOTE = "An image counts once for each of its classes."
COUNTS_HEADING = "Images by split and class"
CURVES = (("mean_average_precision", "Mean average precision"), ("micro_f1", "Micro F1 at 0.5"))
MISTAKES = (
    "Eval images with wrong classes",
    "Classes with a probability of at least 0.5; the images with the largest losses come first.",
)
_NOTHING = "(no label)"


def read_classes(record: Record) -> list[str]:
    """Return the classes of an image."""
    return [text.decode("utf-8", "replace") for text in record.get(features.LABEL_TEXT, [])] or [_NOTHING]


def make_thumbnail(page: Page, record: Record, alt: str = "") -> Html:
    """Return a small image of a record."""
    return make_plain_thumbnail(page, record[features.ENCODED][0], alt)


def show_statistics(page: Page, examples: Mapping[str, int], stats: Mapping[str, Mapping[str, Any]]) -> None:
    """Add how many classes the images have."""
    with page.part("Labels by split"):
        rows: list[list[Cell]] = []
        for split, by_name in stats.items():
            if features.LABEL not in by_name:
                continue
            common, images = by_name[features.LABEL].num_stats.common_stats, examples[split]
            labels = int(common.tot_num_values)
            mean = labels / images if images else None
            rows.append(
                [split, labels, images - int(common.num_non_missing), mean, int(common.max_num_values)]
            )
        page.add(make_table(["split", "labels", "images without", "mean per image", "most per image"], rows))


def show_gate(page: Page, folder: str, report: Mapping[str, Any]) -> None:
    """Add the counts of images by their number of classes."""
    by_split = {split: report["labels"][split] for split in sort_splits(report["labels"])}
    with page.part("Images by their number of classes"):
        numbers = sorted({int(key) for found in by_split.values() for key in found["images_by_labels"]})
        rows: list[list[Cell]] = [
            [str(number), *(found["images_by_labels"].get(str(number), 0) for found in by_split.values())]
            for number in numbers
        ]
        page.add(make_table(["classes", *by_split], rows))
        means = ", ".join(
            f"{split} {found['labels'] / found['images']:.2f}"
            for split, found in by_split.items()
            if found["images"]
        )
        page.add_note(f"Classes of an image on average (label cardinality): {means}.")


def show_wrong(page: Page, wrong: Tested, right: Tested, images: Sequence[str]) -> None:
    """Add images with wrong classes."""
    from components.evaluator.page_mistakes import show_some
    from components.tasks.multilabel.page_mistakes import read_mistakes

    show_some(page, read_mistakes(page, wrong.evaluation), images)


def show_evaluation(page: Page, folder: str, per_class: Mapping[int, Mapping[str, float | None]]) -> None:
    """Add the classes with their thresholds, curves, pairs of classes, and mistakes."""
    from components.tasks.multilabel.figures import Figures, read_figures
    from components.tasks.multilabel.page_figures import (
        show_cardinality,
        show_classes,
        show_curves,
        show_mistaken,
        show_together,
    )
    from components.tasks.multilabel.page_mistakes import read_mistakes, show_worst

    figures, mistakes = Figures(), []
    with page.part():
        figures = read_figures(folder)
    with page.part():
        mistakes = read_mistakes(page, folder)
    with page.part("Classes"):
        show_classes(page, figures, per_class)
    for heading, show in (
        ("Precision by recall", show_curves),
        ("Number of classes", show_cardinality),
        ("Classes that occur together", show_together),
        ("Classes that are mistaken for others", show_mistaken),
    ):
        with page.part(heading):
            show(page, figures)
    with page.part("The worst mistakes"):
        show_worst(page, mistakes)
