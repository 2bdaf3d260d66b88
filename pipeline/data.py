"""Finds, or makes by ingest, the contract data that a run reads."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from components.config import DataConfig
from components.errors import DataRefusedError
from components.ingest import (
    IngestOptions,
    IngestResult,
    check_input,
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
SPLIT_PREFIXES = {
    features.TRAIN: ("train",),
    features.EVAL: ("eval", *features.EVAL_SYNONYMS),
    features.TEST: ("test",),
}
_NAMES_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Examples:
    """The data folder that a pipeline is built for.

    Attributes:
        folder: Holds the TFRecord shards of the data contract.
        patterns: Shards by split, as a glob relative to `folder`.
        class_names: All classes, in the order of their labels; two or more, each with an image in train.
        split_sizes: Images by split; empty where no manifest tells.
    """

    folder: Path
    patterns: dict[str, str]
    class_names: tuple[str, ...]
    split_sizes: dict[str, int] = dataclasses.field(default_factory=dict)


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


def check_config(config: DataConfig) -> None:
    """Looks at what a recipe's `data` part says, not at the data.

    Raises:
        UsageError: The shares of the splits do not make sense, or `path` is nothing that `source` reads.
    """
    ingest_options(config)
    if not _is_name(config) and _ready(config) is None:
        check_input(config.source, Path(config.path) if config.path is not None else None)


def _is_name(config: DataConfig) -> bool:
    return config.path is not None and source_named(config.source).is_name(config.path)


def _ready(config: DataConfig) -> Path | None:
    """The folder that `config.path` is, where it is contract data; None where it is to be ingested."""
    if config.path is None or _is_name(config) or not is_contract_data(Path(config.path)):
        return None
    # TFRecords without a manifest may be anybody's: the source tfrecord checks them and makes one.
    if config.source == "tfrecord" and not is_manifest(Path(config.path)):
        return None
    return Path(config.path)


def prepare(
    config: DataConfig, root: Path, progress: Callable[[str, int, int], None] | None = None
) -> tuple[Path, IngestResult | None]:
    """The folder of contract data, ingested to `root/data` first where `config.path` is raw.

    Returns:
        The folder, and what ingest said (None where the data came as contract data).

    Raises:
        UsageError, DataRefusedError: From ingest.
    """
    if ready := _ready(config):
        return ready, None
    folder = root / "data"
    path = Path(config.path) if config.path is not None else None
    options = ingest_options(config)
    return folder, ingest(config.source, path, folder, options, progress, exclude=[root])


def describe(folder: Path, config: DataConfig) -> Examples:
    """What a folder of contract data holds.

    Raises:
        DataRefusedError: A split or a shard is missing, there is but one class, a class has no image to learn
            it or too few to judge it by, or labels and class names do not agree.
    """
    split_sizes: dict[str, int] = {}
    if is_manifest(folder):
        if not published_completely(folder):
            raise DataRefusedError(
                f"{folder}: the shards are not those that {features.MANIFEST} lists: an ingest was "
                "interrupted, or the copy of the folder. Run the ingest, or the copy, again"
            )
        manifest = read_manifest(folder)
        assert manifest is not None
        patterns = {
            split: f"{split}-*-of-*" for split, summary in manifest.splits.items() if summary.images > 0
        }
        class_names = list(manifest.class_names)
        split_sizes = {split: summary.images for split, summary in manifest.splits.items()}
        counts = {
            split: [summary.class_counts.get(name, 0) for name in class_names]
            for split, summary in manifest.splits.items()
        }
    else:
        patterns, class_names, counts = _describe_shards(folder)
    missing = [split for split in features.SPLITS if split not in patterns]
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
    if len(class_names) < 2:
        raise DataRefusedError(
            f"{folder}: one class only ({', '.join(class_names)}): a classifier needs two or more. Are the "
            "images in a folder for each class?"
        )
    _refuse_classes_without_images(folder, class_names, counts, config)
    return Examples(folder, patterns, tuple(class_names), split_sizes)


def _refuse_classes_without_images(
    folder: Path, class_names: list[str], counts: dict[str, list[int]], config: DataConfig
) -> None:
    unseen = [name for name, count in zip(class_names, counts[features.TRAIN], strict=True) if not count]
    if unseen:
        raise DataRefusedError(
            f"{folder}: {len(unseen)} of {len(class_names)} classes ({_shown(unseen)}) have no image in "
            f"split {features.TRAIN} and cannot be learned. Add images there, or take them out of all splits"
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
            f"{folder}: {len(unjudged)} of {len(class_names)} classes ({_shown(unjudged)}) have {few} in "
            f"split {features.TEST} and cannot be judged. Add images there, give it a larger share "
            "(data.splits), or let them pass unjudged with data.min_test_images=0"
        )


def _shown(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def write_sample(examples: Examples, root: Path) -> str:
    """Writes the first image of the test split to `root/sample.png` (or .jpeg), for the user to try."""
    shards = sorted(examples.folder.glob(examples.patterns[features.TEST]))
    values = parse_example(next(itertools.chain.from_iterable(map(read_records, shards))))
    path = root / f"sample.{values[features.FORMAT][0].decode()}"
    path.write_bytes(values[features.ENCODED][0])
    return str(path)


def _describe_shards(folder: Path) -> tuple[dict[str, str], list[str], dict[str, list[int]]]:
    """Patterns by split, class names in the order of their labels, and images by split and label."""
    patterns: dict[str, str] = {}
    names: dict[int, str] = {}
    labels: dict[str, Counter[int]] = {}
    for split, prefixes in SPLIT_PREFIXES.items():
        for prefix in prefixes:
            files = [path for path in folder.glob(f"{prefix}*") if path.is_file()]
            if files and split not in patterns:
                patterns[split] = f"{prefix}*"
                labels[split] = Counter()
                for path in files:
                    labels[split].update(_labels_in(path, names))
    if not names or sorted(names) != list(range(len(names))):
        raise DataRefusedError(
            f"{folder}: {features.LABEL} must be 0 .. classes - 1, each with an {features.LABEL_TEXT}; found "
            f"{sorted(names)[:10]}; correct the records, or ingest the images again"
        )
    counts = {split: [counted[label] for label in sorted(names)] for split, counted in labels.items()}
    return patterns, [names[label] for label in sorted(names)], counts


def _labels_in(path: Path, names: dict[int, str]) -> Iterator[int]:
    """The label of every record that has one; adds its class name to `names`."""
    for record in read_records(path):
        values = parse_example(record)
        labels, texts = values.get(features.LABEL), values.get(features.LABEL_TEXT)
        if not labels or not texts:
            continue  # DataGate names such records
        text = texts[0].decode("utf-8")
        if names.setdefault(labels[0], text) != text:
            raise DataRefusedError(
                f"{path}: {features.LABEL} {labels[0]} stands for both {names[labels[0]]!r} and {text!r}; "
                "correct the records, or ingest the images again"
            )
        yield labels[0]
