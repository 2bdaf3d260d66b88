"""Answers of `mirante predict` for people: a line each, or a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.base.paths import replace_file
from components.base.printable import printable
from pipeline.prediction.predict import MIN_DRAWN_SCORE

COLUMNS = ("image", "label", "score", "xmin", "ymin", "xmax", "ymax", "error")


def as_lines(answer: dict[str, Any], min_score: float | None) -> str:
    """Return the three most probable classes, or all boxes that would be drawn, on one line.

    Further lines say why the image had to be converted, and what makes the answer doubtful.
    """
    least = MIN_DRAWN_SCORE if min_score is None else min_score
    best = "  ".join(
        f"{each['label']} {each['score']:.4f}"
        + (f" at {', '.join(f'{value:.0f}' for value in each['box'])}" if "box" in each else "")
        for number, each in enumerate(answer["predictions"])
        if (each["score"] >= least if "box" in each else number < 3)
    )
    lines = [printable(f"{answer['image']}: {best or 'nothing that scores enough (--min-score)'}")]
    if "converted" in answer:
        lines.append(f"  asked with a PNG of it, since the model refuses the file: {answer['converted']}")
    if "warning" in answer:
        lines.append(f"  warning: {answer['warning']}")
    return "\n".join(lines)


def write_csv(answers: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a row per prediction; a row without a label for an image that has none, or that has an error.

    Raises:
        OSError: The file cannot be written; one that was there is left as it was.
    """
    with replace_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for answer in answers:
            name, error = printable(answer["image"]), printable(answer.get("error", ""))
            for each in answer.get("predictions") or [{}]:
                box = each.get("box", [""] * 4)
                writer.writerow([name, each.get("label", ""), each.get("score", ""), *box, error])
