"""What an ingest answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from components.ingest.manifest import LEFT_OUT, REJECTS, Manifest


@dataclasses.dataclass(frozen=True)
class SplitSummary:
    """A published split.

    Attributes:
        images: Its images.
        shards: Its shards.
        classes: Classes with at least one image in it.
    """

    images: int
    shards: int
    classes: int


@dataclasses.dataclass(frozen=True)
class IngestResult:
    """The published data.

    Attributes:
        output: Absolute path of OUTPUT.
        splits: By name, in the order of schemas.features.SPLITS; a split without an image is left out.
        class_names: In the order of their labels.
        rejected: Inputs that could not be used; each has a row in `rejects_file`.
        rejects_file: Absolute path of the list.
        warnings: What is odd about the data, a sentence each.
        unchanged: Whether the inputs and options were those of the last ingest, and nothing was done.
        left_out: Files and folders that are no images by their names; each has a row in `left_out_file`.
        left_out_file: Absolute path of the list.
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

    @classmethod
    def from_manifest(cls, output: Path, manifest: Manifest, *, unchanged: bool) -> IngestResult:
        """Return what a manifest says of what is published."""
        return cls(
            output=output,
            splits={
                name: SplitSummary(split.images, len(split.shards), split.classes)
                for name, split in manifest.splits.items()
            },
            class_names=manifest.class_names,
            rejected=manifest.rejected,
            rejects_file=output / REJECTS,
            warnings=list(manifest.warnings),
            unchanged=unchanged,
            left_out=manifest.left_out,
            left_out_file=output / LEFT_OUT,
        )
