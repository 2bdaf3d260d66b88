"""A window of spans: the ingested folders of several spans as one folder of contract data.

Each span is ingested by itself and stays, so only new spans are read. The window's folder has hard links to
their shards. Shards are written anew, without a look at the images, in three cases: a span that lacks a class
of the others has other labels, an image that another span has in test is left out of train
(`pipeline.data.leaks`), and images of two spans have one name (`pipeline.data.window_names`).
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from components.base.content import file_sha256
from components.base.errors import DataRefusedError, UsageError
from components.base.example import parse_example, serialize_example
from components.base.paths import is_remote, replace_file
from components.base.task import task_named
from components.base.tfrecord import frame_record, read_records
from components.ingest.class_names import sort_classes
from components.ingest.config import IngestConfig
from components.ingest.manifest import Manifest, Shard, Split, read_manifest, write_manifest
from components.ingest.staging import SHARD_NAME, published_completely
from components.ingest.truth import TRUTHS
from pipeline.data.leaks import Leaks, about_leaks, find_leaks
from pipeline.data.window_lists import write_span_lists
from pipeline.data.window_names import SpanNames, find_prefixes
from schemas import features

# The window's folder, next to those of its spans.
WINDOW = "window"
# The option of the manifest that names its spans, by the digests of their manifests.
# Another name than that of windows without names of their own: those are joined anew.
_SPANS = "named_spans"


def check_window(config: IngestConfig, root: str) -> None:
    """Refuse a window of spans in buckets: a task would fetch all of them in every run.

    Raises:
        UsageError: The data or the pipeline root are in a bucket.
    """
    for path in filter(is_remote, (config.path or "", root)):
        if config.window_spans > 1:
            raise UsageError(
                f"data.window_spans: expected 1 with {path} in a bucket, got {config.window_spans}; put data "
                "and pipeline_root on a volume, or give one folder with the images of all spans"
            )


def join_spans(spans: Sequence[Path], target: Path) -> list[str]:
    """Make one folder of contract data of several; do nothing if it is there already.

    Args:
        spans: Folders of one task, in the order in which their records are read.
        target: The folder, which may have the shards of another window, or of a join that was killed.

    Returns:
        What is odd about the window, a sentence each; the manifest has them next to those of the spans.

    Raises:
        UsageError: A folder has no manifest.
        DataRefusedError: The spans are for different tasks, their images were stored by different rules, or
            a shard is damaged.
    """
    manifests = [_read(span) for span in spans]
    digests = [file_sha256(span / features.MANIFEST) for span in spans]
    target.mkdir(parents=True, exist_ok=True)
    for path in target.glob(".*.tmp*"):  # of a join that was killed, as are shards that no manifest lists
        path.unlink()
    stale = {name for name in os.listdir(target) if SHARD_NAME.match(name)}
    former = _read_former(target)
    if (
        former is not None
        and former.options.get(_SPANS) == digests
        and published_completely(target)
        and stale == {shard.name for shard in former.shards()}
    ):
        known = {warning for manifest in manifests for warning in manifest.warnings}
        return [warning for warning in former.warnings if warning not in known]
    names = SpanNames()
    leaks = find_leaks(spans, manifests, names)
    joined = _join(manifests, digests, leaks)
    prefixes = find_prefixes(spans, manifests, joined.input)
    are_shared = names.are_shared()
    (target / features.MANIFEST).unlink(missing_ok=True)
    splits = {}
    for name, split in joined.splits.items():
        parts = [
            (span / shard.name, shard, manifest.class_names, prefix)
            for span, manifest, prefix in zip(spans, manifests, prefixes, strict=True)
            if name in manifest.splits
            for shard in manifest.splits[name].shards
            if shard.records > len(leaks.get(span / shard.name, ()))
        ]
        shards = []
        for number, (source, shard, class_names, prefix) in enumerate(parts):
            path = target / f"{name}-{number:05}-of-{len(parts):05}"
            if class_names != joined.class_names or leaks.get(source) or are_shared:
                edit = _Edit(joined, leaks.get(source, {}), prefix if are_shared else "")
                shard = _write_anew(source, path, shard, edit)
            else:
                _link(source, path)
            shards.append(dataclasses.replace(shard, name=path.name))
            stale.discard(path.name)
        splits[name] = dataclasses.replace(split, shards=tuple(shards))
    for name in stale:
        (target / name).unlink()
    digest = write_span_lists(spans, prefixes, leaks, target)
    write_manifest(target, dataclasses.replace(joined, splits=splits, rejects_sha256=digest))
    return about_leaks(leaks)


def _read(span: Path) -> Manifest:
    manifest = read_manifest(span)
    if manifest is None:
        raise UsageError(
            f"data.window_spans: expected spans that ingest has written, got {span} without a "
            f"{features.MANIFEST}; set data.source=tfrecord, or leave data.window_spans out"
        )
    return manifest


def _read_former(target: Path) -> Manifest | None:
    """Return the manifest of the former window; None also for a damaged one, as all is made anew then."""
    try:
        return read_manifest(target)
    except DataRefusedError:
        return None


def _join(manifests: Sequence[Manifest], digests: Sequence[str], leaks: Leaks) -> Manifest:
    """Return the manifest of a window, still without its shards."""
    first = manifests[0]
    for manifest in manifests:
        if manifest.task != first.task:
            raise DataRefusedError(
                f"data.window_spans: expected spans for one task, got {task_named(first.task).gives} in "
                f"{first.input or first.source} and {task_named(manifest.task).gives} in "
                f"{manifest.input or manifest.source}; ingest all of them with the same options"
            )
        if manifest.bit_depth != first.bit_depth:
            raise DataRefusedError(
                f"data.window_spans: expected images of one bit depth, got {first.bit_depth} in "
                f"{first.input} and {manifest.bit_depth} in {manifest.input}; set data.bit_depth to a number"
            )
    class_names = _order_classes([manifest.class_names for manifest in manifests])
    inputs = [manifest.input for manifest in manifests]
    splits = {}
    for name in features.SPLITS:
        parts = [manifest.splits[name] for manifest in manifests if name in manifest.splits]
        lost = [
            leak.classes for of_shard in leaks.values() for leak in of_shard.values() if leak.split == name
        ]
        if images := sum(part.images for part in parts) - len(lost):
            shown = [part.class_counts for part in parts]
            boxes = [part.box_counts for part in parts]
            splits[name] = Split(
                images,
                _sum_counts(shown, [set(classes) for classes in lost], class_names),
                (),  # linked or written by join_spans
                _sum_counts(boxes, lost, class_names) if any(boxes) else {},
            )
    return dataclasses.replace(
        first,
        options={**first.options, _SPANS: list(digests)},
        class_names=class_names,
        splits=splits,
        rejected=sum(manifest.rejected for manifest in manifests),
        cross_split_duplicates=sum(manifest.cross_split_duplicates for manifest in manifests),
        warnings=[
            *dict.fromkeys(warning for manifest in manifests for warning in manifest.warnings),
            *about_leaks(leaks),
        ],
        input=os.path.commonpath(inputs) if all(map(os.path.isabs, inputs)) else "",
        max_boxes=max(manifest.max_boxes for manifest in manifests),
        left_out=sum(manifest.left_out for manifest in manifests) + sum(map(len, leaks.values())),
        copies=sum(manifest.copies for manifest in manifests),
    )


def _order_classes(of_spans: Sequence[Sequence[str]]) -> list[str]:
    """Return the classes of all spans in ingest's order, or in the spans' own one where all agree on it."""
    longest_first = sorted(of_spans, key=len, reverse=True)
    names = list(dict.fromkeys(name for class_names in longest_first for name in class_names))
    by_name = sort_classes(names)
    for order in (by_name, names):
        place = {name: number for number, name in enumerate(order)}
        if all(list(class_names) == sorted(class_names, key=place.__getitem__) for class_names in of_spans):
            return order
    return by_name


def _sum_counts(
    counts: Iterable[Mapping[str, int]], lost: Iterable[Iterable[str]], class_names: Sequence[str]
) -> dict[str, int]:
    """Return the sums by class, without what is left out."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    for classes in lost:
        total.subtract(classes)
    return {name: total[name] for name in class_names}


@dataclasses.dataclass(frozen=True)
class _Edit:
    """The changes of a window to a shard.

    Attributes:
        joined: The window, whose labels the records get.
        left_out: Records that are left out.
        prefix: What each name gets before it.
    """

    joined: Manifest
    left_out: Collection[int]
    prefix: str


def _write_anew(source: Path, path: Path, shard: Shard, edit: _Edit) -> Shard:
    """Write a shard with what the window changes in it."""
    joined = edit.joined
    truth = TRUTHS[joined.task]
    places = {name.encode(): place for place, name in enumerate(joined.class_names, truth.first_label)}
    with replace_file(path) as temporary, temporary.open("wb") as file:
        for number, record in enumerate(read_records(source)):
            if number in edit.left_out:
                continue
            values = parse_example(record)
            if named := b"".join(values.get(features.FILENAME, ())[:1]):
                values[features.FILENAME] = [edit.prefix.encode() + named]
            if joined.task == features.MULTILABEL:  # ascending, as features says
                values[truth.text].sort(key=places.__getitem__)
            values[truth.label] = [places[name] for name in values[truth.text]]
            file.write(frame_record(serialize_example(values)))
    return dataclasses.replace(
        shard,
        records=shard.records - len(edit.left_out),
        bytes=path.stat().st_size,
        sha256=file_sha256(path),
    )


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it to another file system."""
    with replace_file(target) as temporary:
        try:
            # A link to a symbolic link would look for its file from the window's folder.
            os.link(os.path.realpath(source), temporary)
        except OSError:
            shutil.copyfile(source, temporary)
