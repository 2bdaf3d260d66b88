"""Finds, or makes by ingest, the contract data that a run reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from components.config import DataConfig
from components.errors import DataRefusedError, UsageError
from components.ingest import IngestOptions, IngestResult, ingest, read_manifest
from schemas import features

# Splits of contract data without a manifest are told apart by the beginning of their files' names.
_SPLIT_PREFIXES = {
    features.TRAIN: ("train",),
    features.EVAL: ("eval", *features.EVAL_SYNONYMS),
    features.TEST: ("test",),
}


def is_contract_data(folder: Path) -> bool:
    """Whether `folder` has a manifest, or TFRecord shards named as DESIGN of the data contract says."""
    if not folder.is_dir():
        return False
    return read_manifest(folder) is not None or any(
        next(folder.glob(pattern), None) for pattern in ("train*-of-*", "*.tfrec*")
    )


def ingest_options(config: DataConfig, force: bool = False) -> IngestOptions:
    """The options of a recipe's `data` part."""
    return IngestOptions(
        splits={str(name): share for name, share in config.splits.items()},
        split_names={name: str(split) for name, split in config.split_names.items()},
        shards=config.shards,
        workers=config.workers,
        resize_px=config.resize_px,
        max_reject_share=config.max_reject_share,
        force=force,
    )


def prepare(
    config: DataConfig, root: Path, progress: Callable[[str, int, int], None] | None = None
) -> tuple[Path, IngestResult | None]:
    """The folder of contract data, ingested to `root/data` first where `config.path` is raw.

    Returns:
        The folder, and what ingest said (None where the data came as contract data).

    Raises:
        UsageError: No path, or none that exists.
        DataRefusedError: From ingest.
    """
    path = Path(config.path) if config.path is not None else None
    if path is None and config.source != "digits":
        raise UsageError(f"data.path: source {config.source!r} needs it: give --data DIR")
    if path is not None and not path.exists():
        raise UsageError(f"data.path: no such file or folder: {path}")
    if path is not None and is_contract_data(path):
        return path, None
    folder = root / "data"
    return folder, ingest(config.source, path, folder, ingest_options(config), progress)


def describe(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Shards by split as a glob relative to `folder`, and the class list.

    Raises:
        DataRefusedError: A split is missing, or labels and class names do not agree.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        patterns = {
            split: f"{split}-*-of-*" for split, summary in manifest.splits.items() if summary.images > 0
        }
        class_names = list(manifest.class_names)
    else:
        patterns, class_names = _describe_shards(folder)
    missing = [split for split in features.SPLITS if split not in patterns]
    if missing:
        raise DataRefusedError(
            f"{folder}: no examples in split {' and '.join(missing)}; a run needs "
            f"{', '.join(features.SPLITS)}. Give data.splits a share above 0 for each "
            "split that the data does not bring, or more images"
        )
    return patterns, class_names


def _describe_shards(folder: Path) -> tuple[dict[str, str], list[str]]:
    import tensorflow as tf

    patterns: dict[str, str] = {}
    names: dict[int, str] = {}
    for split, prefixes in _SPLIT_PREFIXES.items():
        for prefix in prefixes:
            files = sorted(path for path in folder.glob(f"{prefix}*") if path.is_file())
            if files and split not in patterns:
                patterns[split] = f"{prefix}*"
                compression = "GZIP" if files[0].suffix == ".gz" else ""
                _add_class_names(names, tf.data.TFRecordDataset([str(f) for f in files], compression))
    if sorted(names) != list(range(len(names))):
        raise DataRefusedError(
            f"{folder}: {features.LABEL} must be 0 .. classes - 1, found {sorted(names)[:10]}..."
        )
    return patterns, [names[label] for label in sorted(names)]


def _add_class_names(names: dict[int, str], records: Iterable[Any]) -> None:
    import tensorflow as tf

    for record in records:
        feature = tf.train.Example.FromString(record.numpy()).features.feature
        labels, texts = (
            feature[features.LABEL].int64_list.value,
            feature[features.LABEL_TEXT].bytes_list.value,
        )
        if not labels or not texts:
            continue  # DataGate names such records
        text = texts[0].decode("utf-8")
        if names.setdefault(labels[0], text) != text:
            raise DataRefusedError(
                f"{features.LABEL} {labels[0]} stands for both {names[labels[0]]!r} and {text!r}"
            )
