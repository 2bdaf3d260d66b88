"""A page of HTML that is filled part by part: headings, tables, numbers, images."""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.base.task import Task
from components.pages.markup import Cell, Html, escape, format_cell
from components.pages.rendered import ConfusionMatrix, RenderedPage, Roc

logger = logging.getLogger("mirante.pages")

# For a page's images, as base64; with tables and curves the page stays below 1 MB.
IMAGES_BYTES = 700_000
_STYLESHEET = Path(__file__).with_name("page.css")


class Page:
    """A page of a node, and the numbers next to it.

    Attributes:
        task: The recipe's task.
        class_names: All classes, in the order of their labels.
        metrics: Numbers by name; the rendered page leaves out those that are not finite.
        confusion: See `RenderedPage`.
        roc: See `RenderedPage`.
    """

    def __init__(self, title: str, task: Task, class_names: Sequence[str]):
        self.task = task
        self.class_names = list(class_names)
        self.metrics: dict[str, float] = {}
        self.confusion: ConfusionMatrix | None = None
        self.roc: Roc | None = None
        self._title = title
        self._parts: list[str] = []
        self._left_bytes = IMAGES_BYTES

    def class_name(self, index: int) -> str:
        """Return the name of a class; `index` is 0 for the first one, whatever its label."""
        if 0 <= index < len(self.class_names):
            return self.class_names[index]
        return f"class {index + self.task.first_label}"

    @contextlib.contextmanager
    def part(self, heading: str = "") -> Iterator[None]:
        """Begin a part of the page under a heading. An error in it is reported on the page and not raised."""
        if heading:
            self.add(Html(f"<h2>{escape(heading)}</h2>"))
        try:
            yield
        except Exception as e:
            # A page must not fail the task that it is about.
            logger.warning("the page of %s lacks %s", self._title, heading or "a part", exc_info=True)
            self.add_note(f"This part could not be made: {type(e).__name__}: {e}")

    def add(self, *markup: Html) -> None:
        """Add markup as it is."""
        self._parts.extend(markup)

    def add_text(self, sentence: str) -> None:
        """Add a paragraph."""
        self.add(Html(f"<p>{escape(sentence)}</p>"))

    def add_note(self, sentence: str) -> None:
        """Add a paragraph in small print."""
        self.add(Html(f'<p class="note">{escape(sentence)}</p>'))

    def add_list(self, lines: Sequence[str], most: int = 50) -> None:
        """Add a list; beyond `most` lines it says how many more there are."""
        shown = [*lines[:most], *([f"and {len(lines) - most:,} more"] if len(lines) > most else [])]
        self.add(Html("<ul>" + "".join(f"<li>{escape(line)}</li>" for line in shown) + "</ul>"))

    def add_verdict(self, good: bool, words: str) -> None:
        """Add a result in green or red."""
        self.add(Html(f'<p><span class="badge {"good" if good else "bad"}">{escape(words)}</span></p>'))

    def add_cards(self, values: Sequence[tuple[str, Cell]]) -> None:
        """Add the few numbers that matter most, in large print."""
        cards = (
            f'<div class="card"><b>{format_cell(value)}</b><span>{escape(name)}</span></div>'
            for name, value in values
        )
        self.add(Html(f'<div class="cards">{"".join(cards)}</div>'))

    def embed_image(self, content: bytes, kind: str) -> str | None:
        """Return an image file as an address; None when the page has no room left for it."""
        encoded = base64.b64encode(content).decode("ascii")
        if len(encoded) > self._left_bytes:
            return None
        self._left_bytes -= len(encoded)
        return f"data:image/{kind};base64,{encoded}"

    def add_image(self, content: bytes, words: str, most_px: int = 1200) -> None:
        """Add an image file, reduced where it is large, with `words` as its caption."""
        from PIL import Image

        kind = "png"
        with Image.open(io.BytesIO(content)) as image:
            if image.width > most_px or len(content) > IMAGES_BYTES // 4:
                reduced = image.convert("RGB")
                reduced.thumbnail((most_px, 4 * most_px))
                buffer = io.BytesIO()
                reduced.save(buffer, "JPEG", quality=82)
                content, kind = buffer.getvalue(), "jpeg"
        uri = self.embed_image(content, kind)
        if uri is None:
            self.add_note(f"{words}: left out, the page would be too large.")
            return
        caption = f"<figcaption>{escape(words)}</figcaption>"
        self.add(Html(f'<figure><img class="image" src="{uri}" alt="{escape(words)}">{caption}</figure>'))

    def render(self) -> RenderedPage:
        """Return the finished page."""
        title = escape(self._title)
        style = _STYLESHEET.read_text(encoding="utf-8")
        page = (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title}</title><style>\n{style}</style></head>"
            f"<body><h1>{title}</h1>\n" + "\n".join(self._parts) + "</body></html>\n"
        )
        metrics = {name: float(v) for name, v in self.metrics.items() if math.isfinite(v)}
        return RenderedPage(page, metrics, self.confusion, self.roc)
