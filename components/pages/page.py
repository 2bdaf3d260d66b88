"""A page of HTML: headings, tables, numbers, pictures. Whatever is no `Html` is escaped."""

from __future__ import annotations

import base64
import contextlib
import html
import io
import logging
import math
from collections.abc import Iterator, Sequence

from components.pages.view import ConfusionMatrix, Roc, View

logger = logging.getLogger("mirante.views")

# Of the pictures of a page, as base64; with tables and curves it stays below 1 MB.
PICTURES_BYTES = 700_000

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 16px 20px 28px; max-width: 980px; background: #fff; color: #1f2933;
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 20px; margin: 0 0 2px; }
h2 { font-size: 15px; margin: 24px 0 8px; padding-bottom: 3px; border-bottom: 1px solid #dde3ea; }
p { margin: 6px 0; } .lead, .note { color: #56636f; } .note { font-size: 13px; }
ul { margin: 6px 0; padding-left: 20px; } li { overflow-wrap: anywhere; }
code { font: 12px/1.4 ui-monospace, "DejaVu Sans Mono", Menlo, monospace; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; }
th { text-align: left; font-weight: 600; color: #56636f; border-bottom: 1px solid #c5ced8; }
th, td { padding: 3px 10px 3px 0; vertical-align: top; }
td { border-bottom: 1px solid #eef1f5; overflow-wrap: break-word; }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td:last-child, th:last-child { padding-right: 0; }
tr.best td { background: #eef6ee; }
.badge { display: inline-block; padding: 2px 10px; border-radius: 10px; font-weight: 600; font-size: 13px; }
.good { background: #dcf1e0; color: #17602b; } .bad { background: #fbe0dd; color: #97211a; }
.cards { display: flex; flex-wrap: wrap; gap: 8px; margin: 10px 0; }
.card { border: 1px solid #dde3ea; border-radius: 6px; padding: 6px 12px; min-width: 84px; }
.card b { display: block; font-size: 17px; font-variant-numeric: tabular-nums; }
.card span { color: #56636f; font-size: 12px; }
.charts { display: flex; flex-wrap: wrap; gap: 12px; } .charts > figure { flex: 1 1 380px; max-width: 560px; }
figure { margin: 0; } figcaption { font-size: 12px; color: #56636f; }
svg { width: 100%; height: auto; display: block; }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin: 0 4px 0 10px; }
.bar { height: 10px; border-radius: 2px; min-width: 1px; margin-top: 5px; }
.thumbs td { padding: 2px 8px 2px 0; }
.thumbs td:first-child { overflow-wrap: anywhere; min-width: 50px; max-width: 100px; }
.thumbs img { width: 56px; height: 56px; object-fit: contain; margin: 1px; background: #f3f5f8; }
.thumbs img.small { image-rendering: pixelated; }
.thumbs img.boxed { width: 96px; height: 96px; }
.picture { max-width: min(100%, 660px); border: 1px solid #dde3ea; }
table.confusion { font-size: 11px; }
.confusion td, .confusion th, .confusion td:last-child { border: 1px solid #fff; padding: 3px; }
.confusion td { text-align: right; min-width: 20px; font-variant-numeric: tabular-nums; }
.confusion th { border: none; max-width: 130px; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; }
.confusion tbody th { text-align: right; }
.confusion thead th { vertical-align: bottom; text-align: center; }
.confusion thead th span { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 110px;
  overflow: hidden; text-overflow: ellipsis; }
footer { margin-top: 28px; padding-top: 6px; border-top: 1px solid #dde3ea; color: #56636f; font-size: 12px; }
"""


class Html(str):
    """Markup that is to stand in a page as it is."""

    __slots__ = ()


class Measure(float):
    """A number that is shown to four decimals, whatever it is."""

    __slots__ = ()


Cell = str | int | float | None


def escape(value: object) -> Html:
    """Text as markup; surrogates, which a file name may hold, are replaced."""
    return Html(html.escape(str(value).encode("utf-8", "replace").decode("utf-8")))


def number(value: float) -> str:
    """1,234 or 0.9802: whole numbers in full, others to four significant digits at least."""
    if isinstance(value, Measure):
        return f"{value:.4f}"
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < 0.001 or abs(value) >= 1 else f"{value:.4f}"


def location(name: str) -> Html:
    """A path or address, which may be broken anywhere."""
    return Html(f"<code>{escape(name)}</code>")


def _cell(cell: Cell) -> Html:
    if isinstance(cell, Html):
        return cell
    if cell is None:
        return Html("–")
    return escape(cell if isinstance(cell, str) else number(cell))


def table(
    header: Sequence[str], rows: Sequence[Sequence[Cell]], *, best: int | None = None, style: str = ""
) -> Html:
    """A table; columns in which a number stands are set flush right.

    Args:
        header: A name for each column.
        rows: Cells; None is a dash.
        best: The row that stands out.
        style: A class of the stylesheet.
    """
    right = [
        any(isinstance(row[place], int | float) for row in rows if place < len(row))
        for place in range(len(header))
    ]
    classes = [' class="n"' if flush else "" for flush in right]
    head = "".join(f"<th{c}>{escape(name)}</th>" for name, c in zip(header, classes, strict=True))
    body = []
    for place, row in enumerate(rows):
        cells = "".join(f"<td{c}>{_cell(cell)}</td>" for cell, c in zip(row, classes, strict=True))
        body.append(f"<tr{' class=best' if place == best else ''}>{cells}</tr>")
    head = f"<thead><tr>{head}</tr></thead>" if any(header) else ""
    return Html(
        f'<div class="wide"><table class="{style}">{head}<tbody>{"".join(body)}</tbody></table></div>'
    )


def bar(share: float, colour: str, width_px: int = 90) -> Html:
    """A bar of which `share`, 0 to 1, is drawn."""
    width = max(0.0, min(1.0, share)) * width_px
    return Html(f'<div class="bar" style="width:{width:.1f}px;background:{colour}"></div>')


class Page:
    """Gathers what a task's page shows, and the numbers beside it.

    Attributes:
        metrics: Numbers by name; those that are not finite are left out of the view.
        confusion: See View.
        roc: See View.
    """

    def __init__(self, title: str):
        self._title = title
        self._parts: list[str] = []
        self._room_bytes = PICTURES_BYTES
        self.metrics: dict[str, float] = {}
        self.confusion: ConfusionMatrix | None = None
        self.roc: Roc | None = None

    @contextlib.contextmanager
    def part(self, heading: str = "") -> Iterator[None]:
        """A part of the page under a heading; what is raised within it is said there and goes no further."""
        if heading:
            self.add(Html(f"<h2>{escape(heading)}</h2>"))
        try:
            yield
        except Exception as e:
            # A page must not fail the task that it is about.
            logger.warning("the view of %s lacks %s", self._title, heading or "a part", exc_info=True)
            self.note(f"This part could not be made: {type(e).__name__}: {e}")

    def add(self, *markup: Html) -> None:
        """Markup as it is."""
        self._parts.extend(markup)

    def text(self, sentence: str) -> None:
        """A paragraph."""
        self.add(Html(f"<p>{escape(sentence)}</p>"))

    def note(self, sentence: str) -> None:
        """A paragraph in small print."""
        self.add(Html(f'<p class="note">{escape(sentence)}</p>'))

    def sentences(self, lines: Sequence[str], most: int = 50) -> None:
        """A list, its end left out where it is long."""
        shown = [*lines[:most], *([f"and {len(lines) - most:,} more"] if len(lines) > most else [])]
        self.add(Html("<ul>" + "".join(f"<li>{escape(line)}</li>" for line in shown) + "</ul>"))

    def verdict(self, good: bool, words: str) -> None:
        """What came of it, in green or red."""
        self.add(Html(f'<p><span class="badge {"good" if good else "bad"}">{escape(words)}</span></p>'))

    def cards(self, values: Sequence[tuple[str, Cell]]) -> None:
        """A few numbers that matter most, large."""
        cards = (
            f'<div class="card"><b>{_cell(value)}</b><span>{escape(name)}</span></div>'
            for name, value in values
        )
        self.add(Html(f'<div class="cards">{"".join(cards)}</div>'))

    def data_uri(self, content: bytes, kind: str) -> str | None:
        """A picture file as an address; None when the page has no room left for it."""
        encoded = base64.b64encode(content).decode("ascii")
        if len(encoded) > self._room_bytes:
            return None
        self._room_bytes -= len(encoded)
        return f"data:image/{kind};base64,{encoded}"

    def picture(self, content: bytes, words: str, most_px: int = 1200) -> None:
        """A picture, reduced where it is large; `words` tell what is on it."""
        from PIL import Image

        kind = "png"
        with Image.open(io.BytesIO(content)) as image:
            if image.width > most_px or len(content) > PICTURES_BYTES // 4:
                reduced = image.convert("RGB")
                reduced.thumbnail((most_px, 4 * most_px))
                buffer = io.BytesIO()
                reduced.save(buffer, "JPEG", quality=82)
                content, kind = buffer.getvalue(), "jpeg"
        uri = self.data_uri(content, kind)
        if uri is None:
            self.note(f"{words}: left out, the page would be too large.")
            return
        caption = f"<figcaption>{escape(words)}</figcaption>"
        self.add(Html(f'<figure><img class="picture" src="{uri}" alt="{escape(words)}">{caption}</figure>'))

    def view(self) -> View:
        """All that was gathered."""
        title = escape(self._title)
        page = (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title}</title><style>{_STYLE}</style></head>"
            f"<body><h1>{title}</h1>\n" + "\n".join(self._parts) + "</body></html>\n"
        )
        metrics = {name: float(v) for name, v in self.metrics.items() if math.isfinite(v)}
        return View(page, metrics, self.confusion, self.roc)
