"""CSV: a row for each box, and one without a box for an image without objects."""

import csv
from collections.abc import Sequence
from pathlib import Path

from components.annotations.image import AnnotatedImage

FILE = "boxes.csv"
_COLUMNS = (
    "filename", "split", "width", "height", "class", "xmin", "ymin", "xmax", "ymax", "difficult", "truncated",
    "score",
)  # fmt: skip


class Writer:
    """Writes one file for all splits; its names of files begin with the folder of their split."""

    def __init__(self, folder: Path, class_names: Sequence[str]):
        self._file = (folder / FILE).open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(_COLUMNS)

    def add(self, image: AnnotatedImage) -> None:
        """Write the rows of an image."""
        about = (image.place, image.split, image.width, image.height)
        for box in image.boxes:
            score = "" if box.score is None else f"{box.score:.4f}"
            self._rows.writerow(
                (*about, box.label, *box.sides, int(box.difficult), int(box.truncated), score)
            )
        if not image.boxes:
            self._rows.writerow((*about, *[""] * (len(_COLUMNS) - len(about))))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
