"""Mistakes of multilabel classification on a page: the worst ones as images."""

import dataclasses
from collections.abc import Sequence

from components.evaluator import page_mistakes
from components.evaluator.gathered import MISTAKES_FOLDER
from components.evaluator.page_mistakes import ListedMistake, find_files, read_rows
from components.pages.markup import Html, escape
from components.pages.page import Page
from components.tasks.multilabel.mistakes import SEPARATOR

_NOTHING = "no label"


@dataclasses.dataclass(frozen=True)
class Mistake(ListedMistake):
    """A row of the list of mistakes.

    Attributes:
        true: The classes of the image, as text.
        missed: Those that it does not get, as text.
        false: Those that it gets by mistake, as text.
    """

    true: str
    missed: str
    false: str

    @property
    def words(self) -> str:
        """Words for the wrong classes: missed cat, false dog."""
        parts = (("missed", self.missed), ("false", self.false))
        return ", ".join(f"{what} {names}" for what, names in parts if names) or "not all numbers"

    @property
    def alt(self) -> str:
        """The image's name, its classes, and the wrong ones."""
        return f"{self.image}: {self.true or _NOTHING}, {self.words}"

    @property
    def lines(self) -> Sequence[str]:
        """The classes, the wrong ones, and the image's name."""
        return [
            Html("<b>{}</b>").format(escape(self.true or _NOTHING)),
            escape(self.words),
            escape(self.image),
        ]


def read_mistakes(page: Page, folder: str) -> list[Mistake]:
    """Return the list of mistakes in an evaluation's folder, the worst first; empty if there is none.

    Classes have their names on the page.
    """
    paths = find_files(folder, MISTAKES_FOLDER)
    return [
        Mistake(
            row["image"],
            paths.get(place, ""),
            *(_translate(page, row[column]) for column in ("true", "missed", "false")),
        )
        for place, row in read_rows(folder)
    ]


def _translate(page: Page, names: str) -> str:
    if any(SEPARATOR in name for name in page.class_names):
        return names  # It cannot be told where a name ends.
    return SEPARATOR.join(page.translate(name) for name in names.split(SEPARATOR))


def show_worst(page: Page, mistakes: Sequence[Mistake]) -> None:
    """Add the mistakes with the largest losses as images."""
    page_mistakes.show_worst(page, mistakes, "images with mistakes, those with the largest losses")
