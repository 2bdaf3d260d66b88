"""Markup by Jinja2's templates. Whatever is not `Html` is escaped in them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import markupsafe

if TYPE_CHECKING:
    import jinja2

_TEMPLATES = Path(__file__).with_name("templates")


# Markup that goes into a page as it is.
Html = markupsafe.Markup


class Measure(float):
    """A number that is always shown with four decimals."""

    __slots__ = ()


class Share(Measure):
    """A measure from 0 to 1, shown on a background that is redder the lower it is."""

    __slots__ = ()


class Seconds(float):
    """A time that is always shown with one decimal."""

    __slots__ = ()


Cell = str | int | float | None


@functools.cache
def _load_environment() -> jinja2.Environment:
    import jinja2  # takes a tenth of a second

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": format_cell, "number": format_number, "tint": tint}
    environment.tests |= {"number": _is_number, "share": lambda cell: isinstance(cell, Share)}
    return environment


@functools.cache
def _load_template(path: Path) -> jinja2.Template:
    return _load_environment().from_string(path.read_text(encoding="utf-8"))


def render(template: str | Path, **values: Any) -> Html:
    """Return a template that is filled in.

    Args:
        template: The name of a file in `components/pages/templates`, or the path of another room's file,
            which may import the macros of `parts.html`.
        values: What the template shows; everything that is not `Html` is escaped.
    """
    path = template if isinstance(template, Path) else _TEMPLATES / template
    return Html(_load_template(path).render(values))


def render_part(name: str, *arguments: Any, **options: Any) -> Html:
    """Return what a macro of `parts.html` makes."""
    return Html(getattr(_load_environment().get_template("parts.html").module, name)(*arguments, **options))


def escape(value: object) -> Html:
    """Return text as markup; surrogates, which a file name may hold, are replaced."""
    return markupsafe.escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def format_number(value: float) -> str:
    """Return 1,234 or 0.9802: whole numbers in full, others with at least four significant digits."""
    if isinstance(value, Measure):
        return f"{value:.4f}"
    if isinstance(value, Seconds):
        return f"{value:,.1f}"
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < 0.001 or abs(value) >= 1 else f"{value:.4f}"


def format_path(name: str) -> Html:
    """Return markup of a path or address, which may be broken anywhere."""
    return Html("<code>{}</code>").format(escape(name))


def keep_on_line(text: str) -> Html:
    """Return text that is not broken into lines."""
    return Html('<span class="nowrap">{}</span>').format(escape(text))


def format_cell(cell: Cell) -> Html:
    """Return markup of a table's cell: text is escaped, and None is a dash."""
    if isinstance(cell, Html):
        return cell
    if cell is None:
        return Html("–")
    return escape(cell if isinstance(cell, str) else format_number(cell))


def tint(share: float) -> str:
    """Return how much of a colour covers a cell, 0 to 0.6: text stays legible on it, and few are visible."""
    return f"{0.6 * math.sqrt(max(0.0, min(1.0, share))):.3f}"


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, int | float)


def make_table(
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    best: int | None = None,
    style: str = "",
    sortable: bool = False,
) -> Html:
    """Return a table, in which columns with numbers are flush right.

    Args:
        header: A name for each column.
        rows: Cells; None is a dash.
        best: The row to highlight.
        style: A class of the stylesheet.
        sortable: Whether a click on a name sorts the rows, on pages that may run a script.
    """
    right = [any(_is_number(row[place]) for row in rows if place < len(row)) for place in range(len(header))]
    classes = " ".join(name for name in (style, "sortable" if sortable else "") if name)
    return render_part("table", header, rows, right, best, classes)


def make_bar(share: float, colour: str) -> Html:
    """Return a bar, of which `share`, 0 to 1, is drawn."""
    shown = max(0.0, min(1.0, share))
    return Html('<div class="bar" style="--w:{:.3f};background:var(--{})"></div>').format(shown, colour)
