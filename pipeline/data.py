"""Finds, or makes by ingest, the contract data that a run reads."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

from components.config import DataConfig
from components.errors import DataRefusedError
from components.ingest import (
    IngestOptions,
    IngestResult,
    ingest,
    is_manifest,
    published_completely,
    read_manifest,
)
from components.ingest.example import parse_example
from components.ingest.sources import source_named, tfds
from components.ingest.tfrecord import read_records
from schemas import features

# Splits of contract data without a manifest are told apart by the beginning of their files' names.
_SPLIT_PREFIXES = {
    features.TRAIN: ("train",),
    features.EVAL: ("eval", *features.EVAL_SYNONYMS),
    features.TEST: ("test",),
}


@dataclasses.dataclass(frozen=True)
class Examples:
    """The data folder that a pipeline is built for.

    Attributes:
        folder: Holds the TFRecord shards of the data contract.
        patterns: Shards by split, as a glob relative to `folder`.
        class_names: All classes, in the order of their labels; two or more.
        split_sizes: Images by split; empty where no manifest tells.
        test_labels: The labels that the test split has; all of them where no manifest tells.
    """

    folder: Path
    patterns: dict[str, str]
    class_names: tuple[str, ...]
    split_sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    test_labels: tuple[int, ...] = ()


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


def ingest_options(config: DataConfig) -> IngestOptions:
    """The options of a recipe's `data` part.

    Raises:
        UsageError: The shares of the splits do not make sense.
    """
    return IngestOptions(
        splits={str(name): share for name, share in config.splits.items()},
        split_names={name: str(split) for name, split in config.split_names.items()},
        shards=config.shards,
        workers=config.workers,
        resize_px=config.resize_px,
        max_reject_share=config.max_reject_share,
    )


def prepare(
    config: DataConfig, root: Path, progress: Callable[[str, int, int], None] | None = None
) -> tuple[Path, IngestResult | None]:
    """The folder of contract data, ingested to `root/data` first where `config.path` is raw.

    Returns:
        The folder, and what ingest said (None where the data came as contract data).

    Raises:
        UsageError, DataRefusedError: From ingest.
    """
    path = Path(config.path) if config.path is not None else None
    is_name = path is not None and source_named(config.source).is_name(str(path))
    # TFRecords without a manifest may be anybody's: the source tfrecord checks them and makes one.
    as_it_is = path is not None and (config.source != "tfrecord" or is_manifest(path))
    if path is not None and as_it_is and not is_name and is_contract_data(path):
        return path, None
    folder = root / "data"
    options = ingest_options(config)
    return folder, ingest(config.source, path, folder, options, progress, exclude=[root])


def describe(folder: Path) -> Examples:
    """What a folder of contract data holds.

    Raises:
        DataRefusedError: A split or a shard is missing, there is but one class, or labels and class names do
            not agree.
    """
    manifest = read_manifest(folder) if is_manifest(folder) else None
    split_sizes: dict[str, int] = {}
    test_labels: list[int] = []
    if manifest is not None:
        if not published_completely(folder):
            raise DataRefusedError(
                f"{folder}: the shards are not those that {features.MANIFEST} lists: an ingest was "
                "interrupted, or the copy of the folder. Run the ingest, or the copy, again"
            )
        patterns = {
            split: f"{split}-*-of-*" for split, summary in manifest.splits.items() if summary.images > 0
        }
        class_names = list(manifest.class_names)
        split_sizes = {split: summary.images for split, summary in manifest.splits.items()}
        if features.TEST in manifest.splits:
            counts = manifest.splits[features.TEST].class_counts
            test_labels = [label for label, name in enumerate(class_names) if counts.get(name)]
    else:
        patterns, class_names = _describe_shards(folder)
    missing = [split for split in features.SPLITS if split not in patterns]
    if missing:
        raise DataRefusedError(
            f"{folder}: no examples in split {' and '.join(missing)}; a run needs "
            f"{', '.join(features.SPLITS)}. Give data.splits a share above 0 for each "
            "split that the data does not bring, or more images"
        )
    if len(class_names) < 2:
        raise DataRefusedError(
            f"{folder}: one class only ({', '.join(class_names)}): a classifier needs two or more. Are the "
            "images in a folder for each class?"
        )
    return Examples(
        folder,
        patterns,
        tuple(class_names),
        split_sizes,
        tuple(test_labels or range(len(class_names))),
    )


def write_sample(examples: Examples, root: Path) -> str:
    """Writes the first image of the test split to `root/sample.png` (or .jpeg), for the user to try."""
    shards = sorted(examples.folder.glob(examples.patterns[features.TEST]))
    values = parse_example(next(itertools.chain.from_iterable(map(read_records, shards))))
    path = root / f"sample.{values[features.FORMAT][0].decode()}"
    path.write_bytes(values[features.ENCODED][0])
    return str(path)


def _describe_shards(folder: Path) -> tuple[dict[str, str], list[str]]:
    patterns: dict[str, str] = {}
    names: dict[int, str] = {}
    for split, prefixes in _SPLIT_PREFIXES.items():
        for prefix in prefixes:
            files = [path for path in folder.glob(f"{prefix}*") if path.is_file()]
            if files and split not in patterns:
                patterns[split] = f"{prefix}*"
                for path in files:
                    _add_class_names(names, path)
    if not names or sorted(names) != list(range(len(names))):
        raise DataRefusedError(
            f"{folder}: {features.LABEL} must be 0 .. classes - 1, each with an {features.LABEL_TEXT}; found "
            f"{sorted(names)[:10]}"
        )
    return patterns, [names[label] for label in sorted(names)]


def _add_class_names(names: dict[int, str], path: Path) -> None:
    for record in read_records(path):
        values = parse_example(record)
        labels, texts = values.get(features.LABEL), values.get(features.LABEL_TEXT)
        if not labels or not texts:
            continue  # DataGate names such records
        text = texts[0].decode("utf-8")
        if names.setdefault(labels[0], text) != text:
            raise DataRefusedError(
                f"{path}: {features.LABEL} {labels[0]} stands for both {names[labels[0]]!r} and {text!r}"
            )
