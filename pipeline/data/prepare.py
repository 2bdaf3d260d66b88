"""Finds, or makes by ingest, the contract data that a run reads."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from components.base.content import FileDigests, file_sha256
from components.base.errors import DataRefusedError, UsageError
from components.base.example import parse_example
from components.base.owned import is_marked, mark, note, root_facts, root_id
from components.base.tfrecord import read_records
from components.base.words import format_some
from components.ingest import (
    IngestResult,
    check_input,
    ingest,
    is_manifest,
    published_completely,
    read_manifest,
)
from components.ingest.config import OPTIONS, IngestConfig
from components.ingest.files import displayed
from components.ingest.sources import source_named, tfds
from components.ingest.spans import Span, find_span, is_pattern
from components.ingest.staging import STAGING
from pipeline.data.shards import (
    Found,
    check_shards,
    content_of,
    look_into_shards,
    remove_shards_of_no_manifest,
)
from pipeline.data.spans import ingested_as, remove_others
from schemas import features

_NAMES_SHOWN = 5
# What to do about data of the other task.
_OTHER_TASK = {
    features.CLASSIFICATION: "Take a recipe with task: detection, or data of one class an image",
    features.DETECTION: "Take a recipe with task: classification, or data with boxes (data.source: voc, "
    "coco, yolo, csv or tfrecord)",
}


@dataclasses.dataclass(frozen=True)
class Examples:
    """The data folder that a pipeline is built for.

    Attributes:
        folder: Holds the TFRecord shards of the data contract.
        patterns: Shards by split, as a glob relative to `folder`.
        class_names: All classes, in the order of their labels; each with an image in train. Two or more, or
            for detection one or more.
        split_sizes: Images by split; empty where no manifest tells.
        task: `classification` or `detection`.
        max_boxes: The largest number of boxes of one image; 0 for classification.
        span: Which span `folder` is, where the recipe's path has placeholders: a folder of those that
            `span.pattern` finds below `span.base`.
        content: SHA-256 over the bytes of all shards.
        records: Records by split, with and without a manifest.
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


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A folder of contract data.

    Attributes:
        folder: Where it is.
        ingested: What ingest said; None where the data came as contract data.
        span: As in `Examples`.
    """

    folder: Path
    ingested: IngestResult | None
    span: Span | None = None


def is_contract_data(folder: Path) -> bool:
    """Whether `folder` has a manifest, or TFRecord shards named as DESIGN of the data contract says.

    What tensorflow_datasets prepared is none: its shards are called so, and hold features of other names.
    """
    if not folder.is_dir():
        return False
    if tfds.is_prepared(folder):
        return is_manifest(folder)
    return is_manifest(folder) or any(
        next(folder.glob(pattern), None) for pattern in ("train*-of-*", "*.tfrec*")
    )


def check_config(config: IngestConfig, task: str = features.CLASSIFICATION) -> None:
    """Looks at what a recipe's `data` part says, not at the data.

    Raises:
        UsageError: The label map is not there, `path` is nothing that `source` reads or has
            no such span, or the source's data are for another task.
    """
    config.label_map_file()
    config, _ = _at_span(config)
    tasks = source_named(config.source).tasks
    if task not in tasks and (config.path is None or _is_name(config) or _ready(config) is None):
        gives = "boxes" if features.DETECTION in tasks else "one class an image"
        raise UsageError(
            f"data.source: {config.source} gives {gives}, and the recipe's task is {task}. "
            f"{_OTHER_TASK[task]}"
        )
    if not _is_name(config) and _ready(config) is None:
        check_input(config.source, Path(config.path) if config.path is not None else None)


def check_effect(config: IngestConfig, given: Iterable[str]) -> None:
    """Refuses settings of an ingest for data that is ingested already.

    Args:
        config: The recipe's `data` part.
        given: Keys that the command line gave, such as `data.splits.test`.

    Raises:
        UsageError: One of them would change nothing.
    """
    config, _ = _at_span(config)
    ready = _ready(config)
    for key in given:
        part, *names = key.split(".")
        if part == "data" and names and names[0] in OPTIONS and ready is not None:
            raise UsageError(
                f"--set {key}: it has no effect, {ready} is ingested already: leave it out, or give "
                "`mirante ingest` its option and the images"
            )


def _at_span(config: IngestConfig) -> tuple[IngestConfig, Span | None]:
    """The config with the path of the span that it asks for, and that span; both as they are without one."""
    if config.path is None or not is_pattern(config.path):
        return config, None
    span = find_span(config.path, config.span)
    return config.model_copy(update={"path": span.path}), span


def _is_name(config: IngestConfig) -> bool:
    return config.path is not None and source_named(config.source).is_name(config.path)


def _ready(config: IngestConfig) -> Path | None:
    """The folder that `config.path` is, where it is contract data; None where it is to be ingested."""
    if config.path is None or _is_name(config) or not is_contract_data(Path(config.path)):
        return None
    # TFRecords without a manifest may be anybody's: the source tfrecord checks them and makes one.
    if config.source == "tfrecord" and not is_manifest(Path(config.path)):
        return None
    return Path(config.path)


def at_newest_span(config: IngestConfig) -> IngestConfig:
    """The config that asks for the span that is the newest now, by its number; without placeholders as it is.

    Raises:
        UsageError: There is no such span.
    """
    _, span = _at_span(config)
    return config if span is None else config.model_copy(update={"span": span.number})


def ingest_folder(config: IngestConfig, root: Path) -> Path:
    """Where raw data are ingested to, below the root; those of a span to a folder of its own.

    Raises:
        UsageError: There is no such span.
    """
    return _ingest_folder(_at_span(config)[1], root)


def _ingest_folder(span: Span | None, root: Path) -> Path:
    return root / "data" if span is None else Path(ingested_as(span, root / "data").path)


def prepare(
    config: IngestConfig,
    root: Path,
    progress: Callable[[str, int, int], None] | None = None,
    *,
    trust_times: bool = False,
) -> Prepared:
    """The folder of contract data, ingested to `root/data` first where `config.path` is raw.

    Where that has placeholders, the newest span is taken, or the one that `config.span` asks for; it is
    ingested to a folder of its own below `root/data`.

    Raises:
        UsageError, DataRefusedError: From ingest; or there is no such span.
    """
    config, span = _at_span(config)
    folder = _ingest_folder(span, root)
    if ready := _ready(config):
        return Prepared(ready, None, span)
    path = Path(config.path) if config.path is not None else None
    owner = root_id(root)
    if span is None:
        remove_others(folder, None, owner)
    else:
        span = ingested_as(span, root / "data")
    _take_over(folder, config.source, path, owner)
    remove_shards_of_no_manifest(folder)
    done = ingest(config.source, path, folder, config, progress, exclude=[root], trust_times=trust_times)
    return Prepared(folder, done, span)


def _take_over(folder: Path, source: str, path: Path | None, owner: str) -> None:
    """Mark the folder that is about to be ingested to, unless somebody else's data are there.

    Raises:
        UsageError: They are.
    """
    others = set(os.listdir(folder)) - {STAGING} if folder.is_dir() else set()
    if others and not is_marked(folder, owner):
        manifest = read_manifest(folder) if is_manifest(folder) else None
        given = check_input(source, path)
        shown = "" if given is None else displayed(os.fsencode(given))
        # A root of a Mirante that wrote no marks has data of the same input.
        if manifest is None or (manifest.source, manifest.input) != (source, shown):
            raise UsageError(
                f"{folder}: expected what a run of this root has ingested, got files that none has put there "
                f"({', '.join(sorted(others)[:3])}{', ...' if len(others) > 3 else ''}); give another "
                "--root, or move that folder away"
            )
    if not is_marked(folder, owner):
        mark(folder, owner)


def describe(
    folder: Path,
    config: IngestConfig,
    task: str = features.CLASSIFICATION,
    span: Span | None = None,
    *,
    shards: bool = True,
    digests: FileDigests | None = None,
) -> Examples:
    """What a folder of contract data holds.

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
        UsageError: The data are for the other task.
    """
    split_sizes: dict[str, int] = {}
    digests = digests or FileDigests()
    if is_manifest(folder):
        if shards and not published_completely(folder):
            raise DataRefusedError(
                f"{folder}: the shards are not those that {features.MANIFEST} lists: an ingest was "
                "interrupted, or the copy of the folder. Run the ingest, or the copy, again"
            )
        manifest = read_manifest(folder)
        assert manifest is not None
        if shards:
            check_shards(folder, manifest, digests)
        content = content_of({shard.name: shard.sha256 for shard in manifest.shards()})
        split_sizes = {split: summary.images for split, summary in manifest.splits.items()}
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
        found = look_into_shards(folder)
        files = {path for pattern in found.patterns.values() for path in folder.glob(pattern)}
        content = content_of({path.name: digests.of(path) for path in files if path.is_file()})
    digests.save()
    if found.task != task:
        holds = "boxes" if found.task == features.DETECTION else "one class an image"
        raise UsageError(f"{folder}: it holds {holds}, and the recipe's task is {task}. {_OTHER_TASK[task]}")
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
    if len(class_names) < 2 and task == features.CLASSIFICATION:
        raise DataRefusedError(
            f"{folder}: one class only ({', '.join(class_names)}): a classifier needs two or more. Are the "
            "images in a folder for each class?"
        )
    _refuse_classes_without_images(folder, class_names, found.counts, config)
    return Examples(
        folder,
        found.patterns,
        tuple(class_names),
        split_sizes,
        task,
        found.max_boxes,
        span,
        content,
        found.records,
    )


def _refuse_classes_without_images(
    folder: Path, class_names: list[str], counts: dict[str, list[int]], config: IngestConfig
) -> None:
    unseen = [name for name, count in zip(class_names, counts[features.TRAIN], strict=True) if not count]
    if unseen:
        raise DataRefusedError(
            f"{folder}: {len(unseen)} of {len(class_names)} classes ({format_some(unseen, _NAMES_SHOWN)}) "
            f"have no image in split {features.TRAIN} and cannot be learned. Add images there, or take them "
            "out of all splits"
        )
    least = config.min_test_images
    unjudged = [
        f"{name} ({count})" if count else name
        for name, count in zip(class_names, counts[features.TEST], strict=True)
        if count < least
    ]
    if unjudged:
        few = "no image" if least == 1 else f"fewer than {least} images"
        raise DataRefusedError(
            f"{folder}: {len(unjudged)} of {len(class_names)} classes "
            f"({format_some(unjudged, _NAMES_SHOWN)}) have {few} in split {features.TEST} and cannot be "
            "judged. Add images there, give it a larger share (data.splits), or let them pass unjudged with "
            "data.min_test_images=0"
        )


def write_sample(examples: Examples, root: Path) -> str:
    """Writes the first image of the test split to `root/sample.png` (or .jpeg), for the user to try."""
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
