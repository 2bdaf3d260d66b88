"""Writes boxes and their images in a format: labels of records, or predictions of a detector.

    OUT/train/cat.12.jpg, ...   the image files; without folders of splits for predictions
    OUT/classes.txt             the classes, one per line, in the order of their labels
    OUT/...                     the boxes, by format

OUT appears whole, by a rename. `mirante ingest FORMAT OUT` reads it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from components.annotations.image import AnnotatedImage, AnnotationWriter
from components.annotations.records import read_class_names, read_images
from components.base.errors import UsageError

CLASSES = "classes.txt"


class Output:
    """The output while it is written.

    Attributes:
        images: The number of images.
        boxes: Of boxes.
    """

    def __init__(self, folder: Path, file_format: str, class_names: Sequence[str]):
        module = importlib.import_module(f"components.annotations.formats.{file_format}")
        self.images = self.boxes = 0
        self._folder = folder
        self._writer: AnnotationWriter = module.Writer(folder, class_names)
        (folder / CLASSES).write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")

    def add(self, image: AnnotatedImage, write: Callable[[Path], object]) -> None:
        """Write an image.

        Args:
            image: The image.
            write: Writes its file to a path.
        """
        path = self._folder / image.place
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
        self._writer.add(image)
        self.images += 1
        self.boxes += len(image.boxes)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


@contextlib.contextmanager
def open_output(out: Path, file_format: str, class_names: Sequence[str]) -> Iterator[Output]:
    """Give an output that appears as `out` at the end; if an error is raised, nothing does.

    Raises:
        UsageError: It is there already.
    """
    if os.path.lexists(out):
        raise UsageError(f"OUT {out}: expected no such folder, got one; nothing is overwritten")
    out.parent.mkdir(parents=True, exist_ok=True)
    hidden = out.with_name(f".{out.name[:100]}.{uuid.uuid4().hex[:12]}.incomplete")
    hidden.mkdir()
    try:
        output = Output(hidden, file_format, class_names)
        try:
            yield output
        finally:
            output.close()
        hidden.rename(out)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def write_records(data: Path, out: Path, file_format: str) -> Output:
    """Write the boxes of a data folder.

    Raises:
        UsageError: It is not one of records with boxes, or `out` is there.
    """
    class_names = read_class_names(data)
    with open_output(out, file_format, class_names) as output:
        for image, encoded in read_images(data):
            output.add(image, lambda path, encoded=encoded: path.write_bytes(encoded))  # type: ignore[misc]
    return output
