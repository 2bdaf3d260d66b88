"""Answers of `mirante predict` as text: one line each, or a table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.base.errors import MiranteError
from components.base.printable import printable
from components.base.table import write_table
from components.base.words import wrap_text
from components.infra_validator.protocol import TaskAnswers

COLUMNS = ("image", "label", "score", "predicted", "xmin", "ymin", "xmax", "ymax", "error")


def as_lines(answer: dict[str, Any], task: TaskAnswers, min_score: float | None) -> str:
    """Return the best predictions on one line.

    Further lines say why the image had to be converted, and what makes the answer doubtful.
    """
    best = "  ".join(task.summarize(answer["predictions"], min_score))
    lines = [printable(f"{answer['image']}: {best or 'nothing that scores enough (--min-score)'}")]
    if "converted" in answer:
        why = f"asked with a PNG of it, since the model refuses the file: {answer['converted']}"
        lines.append(wrap_text(why, "  ", "    "))
    if "warning" in answer:
        lines.append(wrap_text(f"warning: {answer['warning']}", "  ", "    "))
    return "\n".join(lines)


class AnswerTable:
    """A CSV with one row per prediction, and a row without a label for an image without a prediction.

    It is a context manager: the file appears at its end, whole. After an error the file is as it was before.

    Args:
        path: The file; its folder must exist.

    Raises:
        MiranteError: The file cannot be written.
    """

    def __init__(self, path: Path):
        self._path = path
        self._open = contextlib.ExitStack()

    def __enter__(self) -> AnswerTable:
        with self._explained():
            self._write = self._open.enter_context(write_table(self._path, COLUMNS))
        return self

    def __exit__(self, *error: Any) -> None:
        with self._explained():
            self._open.__exit__(*error)

    def add(self, answer: Mapping[str, Any]) -> None:
        """Write the rows of an answer."""
        for each in answer.get("predictions") or [{}]:
            box = each.get("box", [""] * 4)
            # Whether an image with several labels gets this one; empty for other tasks.
            predicted = str(each["predicted"]).lower() if "predicted" in each else ""
            said = each.get("label", ""), each.get("score", ""), predicted
            row = answer["image"], *said, *box, answer.get("error", "")
            with self._explained():
                self._write(row)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            raise MiranteError(f"--csv {self._path}: cannot be written: {e.strerror or e}") from e
