"""Answers of `mirante predict` as text: one line each, or a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.base.paths import replace_file
from components.base.printable import printable
from components.infra_validator.protocol import TaskAnswers

COLUMNS = ("image", "label", "score", "xmin", "ymin", "xmax", "ymax", "error")


def as_lines(answer: dict[str, Any], task: TaskAnswers, min_score: float | None) -> str:
    """Return the best predictions on one line.

    Further lines say why the image had to be converted, and what makes the answer doubtful.
    """
    best = "  ".join(task.summarize(answer["predictions"], min_score))
    lines = [printable(f"{answer['image']}: {best or 'nothing that scores enough (--min-score)'}")]
    if "converted" in answer:
        lines.append(f"  asked with a PNG of it, since the model refuses the file: {answer['converted']}")
    if "warning" in answer:
        lines.append(f"  warning: {answer['warning']}")
    return "\n".join(lines)


def write_csv(answers: Sequence[dict[str, Any]], path: Path) -> None:
    """Write one row per prediction, and a row without a label for an image without a prediction.

    Raises:
        OSError: The file cannot be written; an existing one stays as it was.
    """
    with replace_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for answer in answers:
            name, error = printable(answer["image"]), printable(answer.get("error", ""))
            for each in answer.get("predictions") or [{}]:
                box = each.get("box", [""] * 4)
                writer.writerow([name, each.get("label", ""), each.get("score", ""), *box, error])
