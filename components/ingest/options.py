"""What an ingest can be told, and what it answers.

Nothing here imports more than the standard library: the command line builds these before anything else is
loaded.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

from components.base.errors import UsageError
from components.base.limits import DEFAULT_MAX_PIXELS, PILLOW_MAX_PIXELS
from components.ingest.readings import BOX_UNITS
from components.ingest.splits import NO_SPLIT
from schemas import features

DEFAULT_SPLITS: Mapping[str, float] = {features.TRAIN: 0.8, features.EVAL: 0.1, features.TEST: 0.1}


# Option, the largest value, why.
_LIMITS = (
    ("shards", 99_999, "shard names have five digits"),
    ("workers", 1024, "each is a process"),
    ("resize_px", 65_535, "a JPEG's longest side"),
)


@dataclasses.dataclass(frozen=True)
class IngestOptions:
    """How to ingest; validated when made.

    splits: share of the pictures by split, each 0 .. 1, together 1. Splits that the data brings win over
        these (see components.ingest.splits).
    split_names: what the data's own split names mean, `{"validation": "test"}`; wins over
        schemas.features.EVAL_SYNONYMS. "none": the name is no split's.
    shards: shards of every split; None means about 128 MiB of source bytes a shard, at least one.
    workers: worker processes; None means one for every core this process may use.
    resize_px: scale pictures down until their longest side is at most this; aspect ratio kept, never scaled
        up.
    max_reject_share: with a larger share of rejected inputs than this nothing is published.
    max_pixels: pictures with more pixels (height x width, as the file's header says) are rejected before they
        are decoded. The bound is there because of decompression bombs: a few hundred kilobytes of PNG can
        unpack to gigabytes, which would end the worker, or the machine, instead of one picture.
    label_map: a .pbtxt or .txt file that numbers the classes of boxes; see components.ingest.label_map.
    box_units: what the boxes of annotations count in, `pixels` or `shares` of the image's width and height;
        None for what their format asks for.
    force: start afresh: ignore what a former ingest left, and accept an OUTPUT that holds other files.
    trust_times: whether a file's size and time tell that it is the same, as of copies that keep the times of
        objects in a bucket; else inode and time of the entry must be the same, too.

    Raises UsageError with the rule and the value that broke it.
    """

    splits: Mapping[str, float] = dataclasses.field(default_factory=lambda: dict(DEFAULT_SPLITS))
    split_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    shards: int | None = None
    workers: int | None = None
    resize_px: int | None = None
    max_reject_share: float = 0.01
    max_pixels: int = DEFAULT_MAX_PIXELS
    label_map: Path | None = None
    box_units: str | None = None
    force: bool = False
    trust_times: bool = False

    def __post_init__(self) -> None:
        _check_splits(self.splits)
        for name, split in self.split_names.items():
            if split not in (*features.SPLITS, NO_SPLIT):
                raise UsageError(
                    f"split_names: {name!r} is to be read as {split!r}, expected one of "
                    f"{', '.join(features.SPLITS)}{_nearest(split)}, or {NO_SPLIT}: no split's name."
                )
        for name, most, why in _LIMITS:
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise UsageError(f"{name}: expected a whole number from 1 to {most} ({why}), got {value}")
        if not 0 <= self.max_reject_share <= 1:
            raise UsageError(f"max_reject_share must be between 0 and 1, got {self.max_reject_share}.")
        if not 1 <= self.max_pixels <= PILLOW_MAX_PIXELS:
            raise UsageError(
                f"max_pixels must be between 1 and {PILLOW_MAX_PIXELS} (Pillow opens nothing larger), "
                f"got {self.max_pixels}."
            )
        if self.box_units is not None and self.box_units not in BOX_UNITS:
            raise UsageError(f"box_units must be one of {', '.join(BOX_UNITS)}, got {self.box_units!r}")
        if self.label_map is not None and not self.label_map.is_file():
            raise UsageError(f"label_map {self.label_map}: no such file; give a .pbtxt or .txt with classes")

    def content_settings(self) -> dict[str, object]:
        """The options that decide what is published; workers and force do not."""
        settings: dict[str, object] = {
            "splits": {split: float(self.splits.get(split, 0.0)) for split in features.SPLITS},
            "split_names": {name: self.split_names[name] for name in sorted(self.split_names)},
            "shards": self.shards,
            "resize_px": self.resize_px,
            "max_reject_share": float(self.max_reject_share),
            "max_pixels": self.max_pixels,
        }
        if self.label_map is not None:
            settings["label_map_sha256"] = hashlib.sha256(self.label_map.read_bytes()).hexdigest()
        if self.box_units is not None:
            settings["box_units"] = self.box_units
        return settings


def _check_splits(splits: Mapping[str, float]) -> None:
    for split, share in splits.items():
        if split not in features.SPLITS:
            raise UsageError(
                f"splits: unknown split {split!r}, expected {', '.join(features.SPLITS)}{_nearest(split)}."
            )
        if not (isinstance(share, (int, float)) and math.isfinite(share) and 0 <= share <= 1):
            raise UsageError(f"splits: the share of {split} must be between 0 and 1, got {share!r}.")
    total = math.fsum(splits.values())
    if abs(total - 1) > 1e-6:
        shown = ", ".join(f"{split}={share}" for split, share in splits.items())
        raise UsageError(f"splits must add up to 1, got {shown or 'none'}, which add up to {total:g}.")


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name, [*features.SPLITS, *features.EVAL_SYNONYMS], n=1)
    if not close:
        return ""
    return f" (did you mean {features.EVAL if close[0] in features.EVAL_SYNONYMS else close[0]}?)"


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
