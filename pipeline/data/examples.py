"""What a folder of contract data holds, and whether a run can use it."""

import dataclasses
import fnmatch
import hashlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.base.content import FileDigests, file_sha256
from components.base.errors import DataRefusedError, UsageError
from components.base.example import parse_example
from components.base.owned import note, root_facts
from components.base.task import task_named
from components.base.tfrecord import read_records
from components.base.words import format_part, format_some
from components.ingest import is_manifest, read_manifest
from components.ingest.bit_depth import UPPER
from components.ingest.config import REFUSE, IngestConfig
from components.ingest.sources import sources_for
from components.ingest.spans import Span
from components.ingest.truth import TRUTHS
from pipeline.data.shards import Found, check_shards, content_of, look_into_shards
from schemas import features

_NAMES_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Examples:
    """The data folder that a pipeline is built for.

    Attributes:
        folder: Holds the TFRecord shards of the data contract.
        patterns: Shards by split, as a glob relative to `folder`.
        class_names: All classes, in the order of their labels; each with an image in train.
        split_sizes: Images by split; empty where no manifest tells.
        task: What they are for.
        max_boxes: The largest number of boxes of one image; 0 where there are none.
        span: Which span `folder` is, where the recipe's path has placeholders: a folder of those that
            `span.pattern` finds below `span.base`.
        content: SHA-256 over the bytes of all shards.
        test_content: The same, over the shards of the test split.
        class_counts: Images of each class by split.
        records: Records by split, with and without a manifest.
        bit_depth: The rule that they were stored by; None for the default, or without a manifest.
    """

    folder: Path
    patterns: dict[str, str]
    class_names: tuple[str, ...]
    split_sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    task: str = features.CLASSIFICATION
    max_boxes: int = 0
    span: Span | None = None
    content: str = ""
    records: dict[str, int] = dataclasses.field(default_factory=dict)
    bit_depth: str | None = None
    test_content: str = ""
    class_counts: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what a run's result tells of its data."""
        return {
            "path": str(self.folder),
            "images": self.records,
            "sha256": self.content,
            "test_sha256": self.test_content,
        }


def describe(
    folder: Path,
    config: IngestConfig,
    task: str = features.CLASSIFICATION,
    span: Span | None = None,
    *,
    shards: bool = True,
    digests: FileDigests | None = None,
) -> Examples:
    """Return what a folder of contract data holds.

    Args:
        folder: The folder.
        config: Says what is asked of it.
        task: What it is to be used for.
        span: Which span it is, where it is one.
        shards: Whether they are there; where not, the manifest is all that is looked at.
        digests: Remembers the digests of shards; computed anew where not given.

    Raises:
        DataRefusedError: A split or a shard is missing, a shard is not the one that the manifest lists, there
            is but one class to tell apart, a class has no image to learn it or too few to judge it by, or
            labels and class names do not agree.
        UsageError: The data are for another task.
    """
    split_sizes: dict[str, int] = {}
    bit_depth: str | None = None
    digests = digests or FileDigests()
    if is_manifest(folder):
        manifest = read_manifest(folder)
        assert manifest is not None
        if shards:
            check_shards(folder, manifest, digests)
        contents = {shard.name: shard.sha256 for shard in manifest.shards()}
        split_sizes = {split: summary.images for split, summary in manifest.splits.items()}
        bit_depth = manifest.bit_depth if manifest.bit_depth != UPPER else None
        found = Found(
            manifest.task,
            {split: f"{split}-*-of-*" for split, summary in manifest.splits.items() if summary.images > 0},
            list(manifest.class_names),
            {
                split: [summary.class_counts.get(name, 0) for name in manifest.class_names]
                for split, summary in manifest.splits.items()
            },
            manifest.max_boxes,
            split_sizes,
        )
    else:
        found = look_into_shards(folder, task_named(task).records)
        files = {path for pattern in found.patterns.values() for path in folder.glob(pattern)}
        contents = {path.name: digests.of(path) for path in files if path.is_file()}
    digests.save()
    wanted = task_named(task)
    if found.task not in (wanted.records, *TRUTHS[wanted.records].includes):
        raise UsageError(
            f"{folder}: expected {wanted.gives} for task: {task}, got {task_named(found.task).gives}; take a "
            f"recipe with task: {found.task}, or data of a source that gives {wanted.gives} "
            f"(data.source: {', '.join(sources_for(wanted.records))})"
        )
    check_found(folder, found, task, config)
    return Examples(
        folder,
        found.patterns,
        tuple(found.class_names),
        split_sizes,
        task,
        found.max_boxes,
        span,
        content_of(contents),
        found.records,
        bit_depth,
        content_of(_of_split(contents, found.patterns.get(features.TEST))),
        {
            split: dict(zip(found.class_names, counts, strict=True))
            for split, counts in found.counts.items()
            if split in found.patterns
        },
    )


def _of_split(contents: Mapping[str, str], pattern: str | None) -> dict[str, str]:
    return {
        name: digest for name, digest in contents.items() if pattern and fnmatch.fnmatchcase(name, pattern)
    }


def check_found(folder: Path, found: Found, task: str, config: IngestConfig) -> None:
    """Refuse data that nothing can be learned from, or whose model could not be judged.

    Args:
        folder: The data, for messages.
        found: What they hold.
        task: What they are to be used for.
        config: Says what is asked of them.

    Raises:
        DataRefusedError: A split or a class is missing.
    """
    class_names = found.class_names
    missing = [split for split in features.SPLITS if split not in found.patterns]
    if features.TRAIN in missing:
        raise DataRefusedError(
            f"{folder}: no examples in split {features.TRAIN}, so nothing to learn from. Add images for it; "
            "if it is there under another name, say so with data.split_names, e.g. {fold1: train}"
        )
    if missing:
        raise DataRefusedError(
            f"{folder}: no examples in split {' and '.join(missing)}; a run needs "
            f"{', '.join(features.SPLITS)}. Give data.splits a share above 0 for each "
            "split that the data does not bring, or more images"
        )
    wanted = task_named(task)
    if len(class_names) < wanted.min_classes:
        raise DataRefusedError(
            f"{folder}: expected {wanted.min_classes} classes or more for task: {task}, got "
            f"{', '.join(class_names) or 'none'}; are the images in a folder for each class?"
        )
    _refuse_classes_without_images(folder, class_names, found.counts, config)


def _refuse_classes_without_images(
    folder: Path, class_names: list[str], counts: dict[str, list[int]], config: IngestConfig
) -> None:
    unseen = [name for name, count in zip(class_names, counts[features.TRAIN], strict=True) if not count]
    if unseen:
        them = "it" if len(unseen) == 1 else "them"
        raise DataRefusedError(
            f"{folder}: {format_part(unseen, class_names, 'class has', 'classes have')} no image in split "
            f"{features.TRAIN} and cannot be learned ({format_some(unseen, _NAMES_SHOWN)}). Add images "
            f"there, or take {them} out of all splits"
        )
    least = config.min_test_images
    # Classes that ingest keeps in train, as config.small_classes says. To ask for more is to ask for all.
    totals = map(sum, zip(*counts.values(), strict=True))
    is_kept = [
        config.small_classes != REFUSE and least == 1 and total < len(features.SPLITS) for total in totals
    ]
    unjudged = [
        f"{name} ({count})" if count else name
        for name, count, kept in zip(class_names, counts[features.TEST], is_kept, strict=True)
        if count < least and not kept
    ]
    if unjudged:
        them = "it" if len(unjudged) == 1 else "them"
        few = "no image" if least == 1 else f"fewer than {least} images"
        raise DataRefusedError(
            f"{folder}: {format_part(unjudged, class_names, 'class has', 'classes have')} {few} in split "
            f"{features.TEST} and cannot be judged ({format_some(unjudged, _NAMES_SHOWN)}). Add images "
            f"there, give {features.TEST} a larger share (data.splits), or let {them} pass unjudged with "
            "data.min_test_images=0"
        )


def write_sample(examples: Examples, root: Path) -> str:
    """Write the first image of the test split to `root/sample.png` (or .jpeg), for the user to try."""
    shards = sorted(examples.folder.glob(examples.patterns[features.TEST]))
    values = parse_example(next(itertools.chain.from_iterable(map(read_records, shards))))
    encoded = values[features.ENCODED][0]
    digest = hashlib.sha256(encoded).hexdigest()
    path = root / f"sample.{values[features.FORMAT][0].decode()}"
    if path.exists() and file_sha256(path) not in (digest, root_facts(root).get("sample_sha256")):
        # Somebody else's.
        path = path.with_stem(f"sample-{digest[:8]}")
    path.write_bytes(encoded)
    note(root, sample_sha256=digest)
    return str(path)
