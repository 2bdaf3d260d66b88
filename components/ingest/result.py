"""What an ingest answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class SplitSummary:
    """One published split. classes: how many classes have at least one picture in it."""

    images: int
    shards: int
    classes: int


@dataclasses.dataclass(frozen=True)
class IngestResult:
    """What was published.

    output, rejects_file: absolute paths.
    splits: by split name, in the order of schemas.features.SPLITS; a split without a picture is left out.
    class_names: `image/class/label` is an index into it.
    rejected: inputs that could not be used; each has a row in rejects_file.
    left_out: files and folders that are no images by their names; each has a row in left_out_file.
    unchanged: the inputs and options were those of the last ingest, nothing was done.
    """

    output: Path
    splits: dict[str, SplitSummary]
    class_names: list[str]
    rejected: int
    rejects_file: Path
    warnings: list[str]
    unchanged: bool
    left_out: int
    left_out_file: Path
