"""Mistakes of multilabel classification on a page: the worst ones as images."""

import dataclasses
import os
from collections.abc import Sequence

from components.base import files
from components.base.table import read_table
from components.evaluator.evaluation import mistakes_path
from components.pages.markup import Html, escape, render_part
from components.pages.page import Page
from components.pages.records import embed_thumbnail
from components.tasks.multilabel.mistake_images import FOLDER
from components.tasks.multilabel.mistakes import SEPARATOR

# Mistakes that are shown, and names of others.
_MOST_WORST, _MOST_NAMES = 24, 12
# Pillow enlarges nothing smaller than this; the browser does.
_SMALL_BYTES = 2000
_NOTHING = "no label"


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A row of the list of mistakes.

    Attributes:
        image: Name of the image.
        true: Its classes, as text.
        missed: Those that it does not get, as text.
        false: Those that it gets by mistake, as text.
        file: The small image of it; empty if there is none.
    """

    image: str
    true: str
    missed: str
    false: str
    file: str = ""

    @property
    def words(self) -> str:
        """Words for the wrong classes: missed cat, false dog."""
        parts = (("missed", self.missed), ("false", self.false))
        return ", ".join(f"{what} {names}" for what, names in parts if names) or "not all numbers"


def read_mistakes(page: Page, folder: str) -> list[Mistake]:
    """Return the list of mistakes in an evaluation's folder, the worst first; empty if there is none.

    Classes have their names on the page.
    """
    if not files.exists(mistakes_path(folder)):
        return []
    paths = {
        os.path.basename(path).partition(".")[0]: path for path in files.list_below(f"{folder}/{FOLDER}")
    }
    return [
        Mistake(
            row["image"],
            _translate(page, row["true"]),
            _translate(page, row["missed"]),
            _translate(page, row["false"]),
            paths.get(str(place), ""),
        )
        for place, row in enumerate(read_table(files.read_text(mistakes_path(folder))))
    ]


def _translate(page: Page, names: str) -> str:
    return SEPARATOR.join(page.translate(name) for name in names.split(SEPARATOR))


def show_worst(page: Page, mistakes: Sequence[Mistake]) -> None:
    """Add the mistakes with the largest losses as images."""
    shown = [mistake for mistake in mistakes if mistake.file][:_MOST_WORST]
    if not shown:
        page.add_note(
            "There are no mistakes." if not mistakes else "The evaluation keeps no images of mistakes."
        )
        return
    page.add(_caption(page, shown))
    page.add_note(
        f"{len(shown):,} of {len(mistakes):,} images with mistakes, those with the largest losses first. All "
        "are in mistakes.csv."
    )


def show_some(page: Page, mistakes: Sequence[Mistake], images: Sequence[str]) -> None:
    """Add the mistakes on images of these names: as images where the evaluation has them, others by name."""
    wanted = set(images)
    chosen = [mistake for mistake in mistakes if mistake.image in wanted]
    shown = [mistake for mistake in chosen if mistake.file][:_MOST_WORST]
    if shown:
        page.add(_caption(page, shown))
    named = [mistake for mistake in chosen if mistake not in shown]
    if named:
        more = f" and {len(named) - _MOST_NAMES:,} more" if len(named) > _MOST_NAMES else ""
        names = [f"{mistake.image} ({mistake.words})" for mistake in named]
        page.add_note(f"{'Also ' if shown else ''}{', '.join(names[:_MOST_NAMES])}{more}.")


def _caption(page: Page, mistakes: Sequence[Mistake]) -> Html:
    """Return images of mistakes with what they show, what is missed and what is false."""
    captioned = []
    for mistake in mistakes:
        content = files.read_bytes(mistake.file)
        kind = mistake.file.rpartition(".")[2]
        style = "small" if kind == "png" and len(content) < _SMALL_BYTES else ""
        words = f"{mistake.image}: {mistake.true or _NOTHING}, {mistake.words}"
        thumbnail = embed_thumbnail(page, content, kind, style, words)
        lines = [
            Html("<b>{}</b>").format(escape(mistake.true or _NOTHING)),
            escape(mistake.words),
            escape(mistake.image),
        ]
        captioned.append((thumbnail, lines))
    return render_part("captioned", captioned)
