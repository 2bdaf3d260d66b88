"""Mistakes on whole images on a page: the worst ones as images, others by name."""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from components.base import files
from components.base.table import read_table
from components.evaluator.evaluation import mistakes_path
from components.pages.markup import Html, render_part
from components.pages.page import Page
from components.pages.records import embed_thumbnail

# Mistakes that are shown, and names of others.
_MOST_WORST, MOST_NAMES = 24, 12
# Pillow enlarges nothing smaller than this; the browser does.
_SMALL_BYTES = 2000


@dataclasses.dataclass(frozen=True)
class ListedMistake(abc.ABC):
    """A row of the list of mistakes; a task adds what was wrong.

    Attributes:
        image: Name of the image.
        file: The small image of it; empty if there is none.
    """

    image: str
    file: str

    @property
    @abc.abstractmethod
    def words(self) -> str:
        """Words for the mistake, for lists of names."""

    @property
    @abc.abstractmethod
    def alt(self) -> str:
        """Words for image and mistake, for readers that cannot see it."""

    @property
    @abc.abstractmethod
    def lines(self) -> Sequence[str]:
        """The lines below the image."""

    def make_thumbnail(self, page: Page) -> Html:
        """Return the small image as markup."""
        content = files.read_bytes(self.file)
        kind = self.file.rpartition(".")[2]
        style = "small" if kind == "png" and len(content) < _SMALL_BYTES else ""
        return embed_thumbnail(page, content, kind, style, self.alt)


_Mistake = TypeVar("_Mistake", bound=ListedMistake)


def read_rows(folder: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield the rows of the list of mistakes in an evaluation's folder with their places, if there is one."""
    if files.exists(mistakes_path(folder)):
        yield from enumerate(read_table(files.read_text(mistakes_path(folder))))


def find_files(folder: str, name: str) -> dict[int, str]:
    """Return the files in a folder of an evaluation's folder that are named after rows, by row."""
    paths = {os.path.basename(path).partition(".")[0]: path for path in files.list_below(f"{folder}/{name}")}
    return {int(row): path for row, path in paths.items() if row.isdigit()}


def show_worst(page: Page, mistakes: Sequence[_Mistake], what: str) -> Sequence[_Mistake]:
    """Add the first mistakes as images, and say that they are `what`; return those that are shown."""
    shown = [mistake for mistake in mistakes if mistake.file][:_MOST_WORST]
    if shown:
        page.add(show_captioned(page, shown))
        page.add_note(f"{len(shown):,} of {len(mistakes):,} {what} first. All are in mistakes.csv.")
    else:
        page.add_note(
            "There are no mistakes." if not mistakes else "The evaluation keeps no images of mistakes."
        )
    return shown


def show_some(page: Page, mistakes: Sequence[ListedMistake], images: Sequence[str]) -> None:
    """Add the mistakes on images of these names: as images where the evaluation has them, others by name."""
    wanted = set(images)
    chosen = [mistake for mistake in mistakes if mistake.image in wanted]
    shown = [mistake for mistake in chosen if mistake.file][:_MOST_WORST]
    if shown:
        page.add(show_captioned(page, shown))
    named = [mistake for mistake in chosen if mistake not in shown]
    if named:
        more = f" and {len(named) - MOST_NAMES:,} more" if len(named) > MOST_NAMES else ""
        names = [f"{mistake.image} ({mistake.words})" for mistake in named]
        page.add_note(f"{'Also ' if shown else ''}{', '.join(names[:MOST_NAMES])}{more}.")


def show_captioned(page: Page, mistakes: Sequence[ListedMistake]) -> Html:
    """Return the images of mistakes with their lines."""
    return render_part("captioned", [(mistake.make_thumbnail(page), mistake.lines) for mistake in mistakes])
