"""HTML: escaped text, numbers, tables, bars. Everything that is not `Html` is escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence


class Html(str):
    """Markup that goes into a page as it is."""

    __slots__ = ()


class Measure(float):
    """A number that is always shown with four decimals."""

    __slots__ = ()


Cell = str | int | float | None


def escape(value: object) -> Html:
    """Return text as markup; surrogates, which a file name may hold, are replaced."""
    return Html(html.escape(str(value).encode("utf-8", "replace").decode("utf-8")))


def format_number(value: float) -> str:
    """Return 1,234 or 0.9802: whole numbers in full, others with at least four significant digits."""
    if isinstance(value, Measure):
        return f"{value:.4f}"
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < 0.001 or abs(value) >= 1 else f"{value:.4f}"


def format_path(name: str) -> Html:
    """Return markup of a path or address, which may be broken anywhere."""
    return Html(f"<code>{escape(name)}</code>")


def format_cell(cell: Cell) -> Html:
    """Return markup of a table's cell: text is escaped, and None is a dash."""
    if isinstance(cell, Html):
        return cell
    if cell is None:
        return Html("–")
    return escape(cell if isinstance(cell, str) else format_number(cell))


def make_table(
    header: Sequence[str], rows: Sequence[Sequence[Cell]], *, best: int | None = None, style: str = ""
) -> Html:
    """Return a table, in which columns with numbers are flush right.

    Args:
        header: A name for each column.
        rows: Cells; None is a dash.
        best: The row to highlight.
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
        cells = "".join(f"<td{c}>{format_cell(cell)}</td>" for cell, c in zip(row, classes, strict=True))
        body.append(f"<tr{' class=best' if place == best else ''}>{cells}</tr>")
    head = f"<thead><tr>{head}</tr></thead>" if any(header) else ""
    return Html(
        f'<div class="wide"><table class="{style}">{head}<tbody>{"".join(body)}</tbody></table></div>'
    )


def make_bar(share: float, colour: str, width_px: int = 90) -> Html:
    """Return a bar, of which `share`, 0 to 1, is drawn."""
    width = max(0.0, min(1.0, share)) * width_px
    return Html(f'<div class="bar" style="width:{width:.1f}px;background:{colour}"></div>')
