"""Boxes of records, as `mirante ingest` writes them. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from components.annotations.image import AnnotatedImage, Annotation, find_free_stem
from components.base.errors import UsageError
from components.base.example import parse_example
from components.base.tfrecord import read_records
from components.ingest.manifest import read_manifest
from components.ingest.staging import SHARD_NAME
from schemas import features

_SUFFIXES = {b"jpeg": ".jpg", b"png": ".png"}


def read_class_names(folder: Path) -> tuple[str, ...]:
    """Return the classes of a data folder, in the order of their labels.

    Raises:
        UsageError: It is not one, or its records have no boxes.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise UsageError(f"{folder}: expected a folder that `mirante ingest` wrote, got one without manifest")
    if manifest.task != features.DETECTION:
        raise UsageError(f"{folder}: expected records with boxes, got {manifest.task}")
    return tuple(manifest.class_names)


def read_images(folder: Path) -> Iterator[tuple[AnnotatedImage, bytes]]:
    """Yield the images of all splits with their files, shard by shard.

    Files keep their names, with the suffix of what they are now. One whose name is taken gets a number.
    """
    taken: set[tuple[str, str]] = set()
    for shard in sorted(path for path in folder.iterdir() if SHARD_NAME.match(path.name)):
        split = shard.name.partition("-")[0]
        for record in read_records(shard):
            values = parse_example(record)
            stem = find_free_stem(split, values[features.FILENAME][0].decode("utf-8", "replace"), taken)
            width, height = values[features.WIDTH][0], values[features.HEIGHT][0]
            texts = [text.decode("utf-8") for text in values.get(features.BOX_TEXT, [])]
            flags = [values.get(flag) or [0] * len(texts) for flag in features.BOX_FLAGS]
            sides = [
                [side * most for side in values.get(name, [])]
                for name, most in zip(features.BOX_SIDES, (width, height, width, height), strict=True)
            ]
            boxes = [
                Annotation(text, xmin, ymin, xmax, ymax, bool(difficult), bool(truncated))
                for text, xmin, ymin, xmax, ymax, difficult, truncated in zip(
                    texts, *sides, *flags, strict=True
                )
            ]
            suffix = _SUFFIXES.get(values[features.FORMAT][0], ".png")
            yield AnnotatedImage(split, stem + suffix, width, height, boxes), values[features.ENCODED][0]
