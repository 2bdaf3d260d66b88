"""Mistakes of a classifier on a page: the worst ones, and those behind a cell of the confusion matrix."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.base import files
from components.base.table import read_table
from components.evaluator.evaluation import mistakes_path
from components.pages.markup import Html, escape, render, render_part
from components.pages.page import Page
from components.pages.records import embed_thumbnail
from components.tasks.classification.mistakes import FOLDER, HEAT_FOLDER

# Of the worst mistakes; of a report also those of each pair of classes.
_MOST_WORST, _MOST_IN_PAIR, _MOST_NAMES = 24, 6, 12
_MOST_PAIRS, _MOST_PAIRS_OF_NODE = 200, 30
# Pillow enlarges nothing smaller than this; the browser does.
_SMALL_BYTES = 2000
_PAIRS = Path(__file__).with_name("pairs.html")


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A row of the list of mistakes.

    Attributes:
        image: Name of the image.
        true: Its class.
        predicted: The predicted class; empty if the probabilities were not all numbers.
        score: The probability of the predicted class, as text; empty in the same case.
        file: The small image of it; empty if there is none.
        heat: The same with a heat map; likewise.
    """

    image: str
    true: str
    predicted: str
    score: str
    file: str = ""
    heat: str = ""

    @property
    def percent(self) -> str:
        """The score as a percentage."""
        return f"{float(self.score):.1%}" if self.score else "no score"


def read_mistakes(page: Page, folder: str) -> list[Mistake]:
    """Return the list of mistakes in an evaluation's folder, the worst first; empty if there is none.

    Classes have their names on the page.
    """
    if not files.exists(mistakes_path(folder)):
        return []
    images, heat = (_find_rows(os.path.join(folder, name)) for name in (FOLDER, HEAT_FOLDER))
    return [
        Mistake(
            row["image"],
            page.translate(row["true_class"]),
            page.translate(row["predicted_class"]),
            row["score"],
            images.get(place, ""),
            heat.get(place, ""),
        )
        for place, row in enumerate(read_table(files.read_text(mistakes_path(folder))))
    ]


def _find_rows(folder: str) -> dict[int, str]:
    """Return files that are named after rows, by row."""
    paths = {os.path.basename(path).partition(".")[0]: path for path in files.list_below(folder)}
    return {int(row): path for row, path in paths.items() if row.isdigit()}


def show_worst(page: Page, mistakes: Sequence[Mistake]) -> None:
    """Add the mistakes with the highest probabilities as images."""
    shown = [mistake for mistake in mistakes if mistake.file][:_MOST_WORST]
    if not shown:
        page.add_note(
            "There are no mistakes." if not mistakes else "The evaluation keeps no images of mistakes."
        )
        return
    page.add(_caption(page, shown))
    page.add_note(
        f"{len(shown):,} of {len(mistakes):,} mistakes, those with the highest probability of a wrong "
        "class first. All are in mistakes.csv."
    )
    if any(mistake.heat for mistake in shown):
        page.add_note(
            "Below an image: where the model looks for the class that it predicts, the brighter the more."
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
        names = [f"{mistake.image} ({mistake.true} taken for {mistake.predicted})" for mistake in named]
        page.add_note(f"{'Also ' if shown else ''}{', '.join(names[:_MOST_NAMES])}{more}.")


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
        behind.setdefault((mistake.true, mistake.predicted), []).append(mistake)
    most = _MOST_PAIRS if page.is_report else _MOST_PAIRS_OF_NODE
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for count, true, predicted in pairs[:most]:
        names = page.class_name(true), page.class_name(predicted)
        of_pair = behind.get(names, [])
        with_image = [mistake for mistake in of_pair if mistake.file][
            : _MOST_IN_PAIR if page.is_report else 0
        ]
        named = [mistake for mistake in of_pair if mistake not in with_image][:_MOST_NAMES]
        listed = len(with_image) + len(named)
        found[true, predicted] = {
            "true": names[0],
            "predicted": names[1],
            "count": count,
            "images": _caption(page, with_image, short=True) if with_image else "",
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


def _caption(page: Page, mistakes: Sequence[Mistake], *, short: bool = False) -> Html:
    """Return images of mistakes with what they are and were taken for."""
    captioned = []
    for mistake in mistakes:
        content = files.read_bytes(mistake.file)
        kind = mistake.file.rpartition(".")[2]
        words = f"{mistake.image}: {mistake.true} taken for {mistake.predicted or 'nothing'}"
        style = "small" if kind == "png" and len(content) < _SMALL_BYTES else ""
        thumbnail = embed_thumbnail(page, content, kind, style, words)
        lines = [mistake.percent, escape(mistake.image)]
        if not short:
            lines = [
                Html("<b>{}</b>").format(escape(mistake.true)),
                f"taken for {mistake.predicted or 'nothing'} ({mistake.percent})",
                escape(mistake.image),
            ]
        if mistake.heat and not short:
            heat = files.read_bytes(mistake.heat)
            thumbnail += embed_thumbnail(page, heat, "jpeg", "", f"{words}, where the model looks")
        captioned.append((thumbnail, lines))
    return render_part("captioned", captioned)
