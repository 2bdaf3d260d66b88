"""A page of HTML that is filled part by part: headings, tables, numbers, images."""

import base64
import contextlib
import io
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from components.base.task import Task
from components.pages.markup import Cell, Html, escape, render, render_part
from components.pages.rendered import ConfusionMatrix, RenderedPage, Roc

logger = logging.getLogger("mirante.pages")

# For the images of a node's page, as base64; with tables and curves the page stays below 1 MB.
IMAGES_BYTES = 700_000
_STYLESHEET = Path(__file__).with_name("page.css")
_SCRIPT = Path(__file__).with_name("templates") / "report.js"


class Page:
    """A page of a node or a run, and the numbers next to it.

    Attributes:
        task: The recipe's task.
        class_names: All classes, in the order of their labels.
        translations: The names of classes on the page by their own, where these differ.
        metrics: Numbers by name; the rendered page leaves out those that are not finite.
        confusion: See `RenderedPage`.
        roc: See `RenderedPage`.
        is_report: Whether it is the page of a run: it has sections, a script that sorts tables, and follows
            the reader from light to dark. Kubeflow's UI is light and lets no page run a script.

    Args:
        title: Its heading.
        task: The recipe's task.
        class_names: All classes, in the order of their labels.
        images_bytes: The most that its images take, as base64.
        is_report: See above.
    """

    def __init__(
        self,
        title: str,
        task: Task,
        class_names: Sequence[str],
        *,
        images_bytes: int = IMAGES_BYTES,
        is_report: bool = False,
    ):
        self.task = task
        self.class_names = list(class_names)
        self.translations: Mapping[str, str] = {}
        self.metrics: dict[str, float] = {}
        self.confusion: ConfusionMatrix | None = None
        self.roc: Roc | None = None
        self.is_report = is_report
        self._title = title
        self._parts: list[Html] = []
        self._contents: list[tuple[str, str]] = []
        self._level = 2
        self._left_bytes = images_bytes

    def class_name(self, index: int) -> str:
        """Return the name of a class on the page; `index` is 0 for the first one, whatever its label."""
        if 0 <= index < len(self.class_names):
            return self.translate(self.class_names[index])
        return f"class {index + self.task.first_label}"

    def translate(self, name: str) -> str:
        """Return the name on the page of a class, or of what is no class, by its own name."""
        return self.translations.get(name, name)

    @property
    def shown_names(self) -> list[str]:
        """The names of all classes on the page, in the order of their labels."""
        return [self.translate(name) for name in self.class_names]

    @contextlib.contextmanager
    def section(self, heading: str) -> Iterator[None]:
        """Begin a section, which the contents name; the headings of parts in it are smaller."""
        name = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
        self._contents.append((name, heading))
        self.add(Html('<section id="{}"><h2>{}</h2>').format(name, heading))
        self._level = 3
        with self._guard(heading):
            yield
        self._level = 2
        self.add(Html("</section>"))

    @contextlib.contextmanager
    def part(self, heading: str = "") -> Iterator[None]:
        """Begin a part of the page under a heading. An error in it is reported on the page and not raised."""
        if heading:
            self.add(Html("<h{0}>{1}</h{0}>").format(self._level, escape(heading)))
        with self._guard(heading):
            yield

    @contextlib.contextmanager
    def _guard(self, heading: str) -> Iterator[None]:
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
        self.add(Html("<p>{}</p>").format(escape(sentence)))

    def add_note(self, sentence: str) -> None:
        """Add a paragraph in small print."""
        self.add(Html('<p class="note">{}</p>').format(escape(sentence)))

    def add_list(self, lines: Sequence[str], most: int = 50) -> None:
        """Add a list; beyond `most` lines it says how many more there are."""
        shown = [*lines[:most], *([f"and {len(lines) - most:,} more"] if len(lines) > most else [])]
        self.add(render_part("bullets", shown))

    def add_verdict(self, good: bool, words: str) -> None:
        """Add a result in green or red."""
        self.add(render_part("badge", "good" if good else "bad", words))

    def add_cards(self, values: Sequence[tuple[str, Cell]], notes: Sequence[str] = ()) -> None:
        """Add the few numbers that matter most in large print, some with a note below them."""
        given = [*notes, *[""] * (len(values) - len(notes))]
        self.add(render_part("cards", [(*value, note) for value, note in zip(values, given, strict=True)]))

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
        self.add(render_part("image", uri, words, most_px))

    def add_row(self, images: Sequence[tuple[bytes, str]], words: str) -> None:
        """Add JPEG files next to each other, each with its own words, below a common caption."""
        embedded = [(self.embed_image(content, "jpeg"), own) for content, own in images]
        if any(uri is None for uri, _ in embedded):
            self.add_note(f"{words}: left out, the page would be too large.")
            return
        self.add(render_part("row_of_figures", embedded, words))

    def render(self) -> RenderedPage:
        """Return the finished page."""
        page = render(
            "page.html",
            title=escape(self._title),
            style=Html(_STYLESHEET.read_text(encoding="utf-8")),
            script=Html(_SCRIPT.read_text(encoding="utf-8")) if self.is_report else "",
            follows_scheme=self.is_report,
            contents=self._contents,
            parts=self._parts,
        )
        metrics = {name: float(v) for name, v in self.metrics.items() if math.isfinite(v)}
        return RenderedPage(str(page) + "\n", metrics, self.confusion, self.roc)
