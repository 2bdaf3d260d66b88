"""Mistakes of a classifier on a page: the worst ones, and those behind a cell of the confusion matrix."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.base import files
from components.evaluator import page_mistakes
from components.evaluator.gathered import MISTAKES_FOLDER
from components.evaluator.page_mistakes import (
    MOST_NAMES,
    ListedMistake,
    find_files,
    read_rows,
    show_captioned,
)
from components.pages.markup import Html, escape, render
from components.pages.page import Page
from components.pages.records import embed_thumbnail
from components.tasks.classification.mistakes import HEAT_FOLDER

# Images of each pair of classes in a report, and pairs.
_MOST_IN_PAIR = 6
_MOST_PAIRS, _MOST_PAIRS_OF_NODE = 200, 30
_PAIRS = Path(__file__).with_name("pairs.html")


@dataclasses.dataclass(frozen=True)
class Mistake(ListedMistake):
    """A row of the list of mistakes.

    Attributes:
        true: The class of the image.
        predicted: The predicted class; empty if the probabilities were not all numbers.
        score: The probability of the predicted class, as text; empty in the same case.
        heat: The small image with a heat map; empty if there is none.
        is_short: Whether the lines below the image are without its classes.
    """

    true: str
    predicted: str
    score: str
    heat: str = ""
    is_short: bool = False

    @property
    def percent(self) -> str:
        """The score as a percentage."""
        return f"{float(self.score):.1%}" if self.score else "no score"

    @property
    def words(self) -> str:
        """Words for both classes: cat taken for dog."""
        return f"{self.true} taken for {self.predicted}"

    @property
    def alt(self) -> str:
        """The image's name and both classes."""
        return f"{self.image}: {self.true} taken for {self.predicted or 'nothing'}"

    @property
    def lines(self) -> Sequence[str]:
        """The classes, the score and the image's name."""
        if self.is_short:
            return [self.percent, escape(self.image)]
        return [
            Html("<b>{}</b>").format(escape(self.true)),
            f"taken for {self.predicted or 'nothing'} ({self.percent})",
            escape(self.image),
        ]

    def make_thumbnail(self, page: Page) -> Html:
        """Return the small image, and below it the one with a heat map."""
        thumbnail = super().make_thumbnail(page)
        if self.heat and not self.is_short:
            heat = files.read_bytes(self.heat)
            thumbnail += embed_thumbnail(page, heat, "jpeg", "", f"{self.alt}, where the model looks")
        return thumbnail


def read_mistakes(page: Page, folder: str) -> list[Mistake]:
    """Return the list of mistakes in an evaluation's folder, the worst first; empty if there is none.

    Classes have their names on the page.
    """
    images, heat = (find_files(folder, name) for name in (MISTAKES_FOLDER, HEAT_FOLDER))
    return [
        Mistake(
            row["image"],
            images.get(place, ""),
            page.translate(row["true_class"]),
            page.translate(row["predicted_class"]),
            row["score"],
            heat.get(place, ""),
        )
        for place, row in read_rows(folder)
    ]


def show_worst(page: Page, mistakes: Sequence[Mistake]) -> None:
    """Add the mistakes with the highest probabilities as images."""
    shown = page_mistakes.show_worst(
        page, mistakes, "mistakes, those with the highest probability of a wrong class"
    )
    if any(mistake.heat for mistake in shown):
        page.add_note(
            "Below an image: where the model looks for the class that it predicts, the brighter the more."
        )


def list_behind(
    page: Page, pairs: Sequence[tuple[int, int, int]], mistakes: Sequence[Mistake]
) -> dict[tuple[int, int], dict[str, Any]]:
    """Return what `show_pairs` shows of the pairs that it has room for, by true and predicted class.

    Args:
        page: The page.
        pairs: Number of images, true class and predicted class by index; the most frequent first.
        mistakes: The list of mistakes.
    """
    behind: dict[tuple[str, str], list[Mistake]] = {}
    for mistake in mistakes:
        short = dataclasses.replace(mistake, is_short=True)
        behind.setdefault((mistake.true, mistake.predicted), []).append(short)
    most = _MOST_PAIRS if page.is_report else _MOST_PAIRS_OF_NODE
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for count, true, predicted in pairs[:most]:
        names = page.class_name(true), page.class_name(predicted)
        of_pair = behind.get(names, [])
        most_images = _MOST_IN_PAIR if page.is_report else 0
        with_image = [mistake for mistake in of_pair if mistake.file][:most_images]
        named = [mistake for mistake in of_pair if mistake not in with_image][:MOST_NAMES]
        listed = len(with_image) + len(named)
        found[true, predicted] = {
            "true": names[0],
            "predicted": names[1],
            "count": count,
            "images": show_captioned(page, with_image) if with_image else "",
            "names": [f"{mistake.image} ({mistake.percent})" for mistake in named],
            "more": count - listed if listed else 0,
        }
    return found


def show_pairs(page: Page, behind: Mapping[tuple[int, int], Mapping[str, Any]], confused: int) -> None:
    """Add the pairs of classes of `list_behind`, each with its images behind it.

    Args:
        page: The page.
        behind: The pairs.
        confused: The number of all pairs that are confused.
    """
    page.add(render(_PAIRS, pairs=behind))
    if confused > len(behind):
        page.add_note(f"{len(behind)} of {confused:,} pairs of classes that are confused.")
