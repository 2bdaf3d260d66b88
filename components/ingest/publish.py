"""The end of an ingest: what the manifest says of the shards, and their move to OUTPUT, manifest last."""

import hashlib
from pathlib import Path

from components.ingest import staging as staging_folder
from components.ingest.bit_depth import Depths
from components.ingest.config import IngestConfig
from components.ingest.copies import about_copies, copies_bytes, list_copies
from components.ingest.index import Index
from components.ingest.input import Input
from components.ingest.manifest import (
    COPIES,
    FORMAT_VERSION,
    Manifest,
    Shard,
    Split,
    rejects_bytes,
    write_inputs,
    write_list,
    write_lists,
    write_manifest,
)
from components.ingest.plan import Plan, reader_code
from components.ingest.remarks import about_depths, remarks
from components.ingest.truth.counts import BoxCounts
from schemas import features


def publish(
    source: str,
    given: Input,
    output: Path,
    config: IngestConfig,
    index: Index,
    plan: Plan,
    shards: dict[str, Shard],
) -> Manifest:
    """Move the staged shards to OUTPUT and write the lists and the manifest next to them.

    Args:
        source: Name of the source.
        given: INPUT.
        output: OUTPUT.
        config: The options.
        index: Everything that is known of the inputs; rejects are noted.
        plan: What was planned.
        shards: What was written, by name.

    Returns:
        The manifest.
    """
    rejects, left_out = rejects_bytes(index.rejects()), index.left_out()
    copies = list_copies(index)
    splits = _split_up(index, plan, shards)
    boxes = BoxCounts.total(shard.boxes for shard in shards.values())
    manifest = Manifest(
        version=FORMAT_VERSION,
        code=reader_code(),
        source=source,
        options=config.content_settings(),
        class_names=plan.class_names,
        splits=splits,
        rejected=index.count_rejects(),
        rejects_sha256=hashlib.sha256(rejects).hexdigest(),
        cross_split_duplicates=plan.cross_split_duplicates,
        warnings=[
            *remarks(index, plan, splits, boxes),
            *about_copies(copies),
            *about_depths(index, Depths.total(shard.depths for shard in shards.values()), plan.bit_depth),
        ],
        input=given.shown,
        task=plan.truth.task,
        max_boxes=boxes.most,
        left_out=len(left_out),
        copies=len(copies),
        bit_depth=plan.bit_depth,
    )
    for shard in manifest.shards():
        assert shard.records == sum(s.records for s in plan.shards if s.name == shard.name) - len(
            shard.rejected
        )
    staging_folder.publish_shards(
        output / staging_folder.STAGING, output, [shard for shard in plan.shards if shard.split in splits]
    )
    write_lists(output, rejects, left_out)
    write_list(output / COPIES, copies_bytes(copies) if copies else b"")
    write_inputs(output, given.rows(index))
    write_manifest(output, manifest)
    staging_folder.sync_folder(output)
    return manifest


def _split_up(index: Index, plan: Plan, shards: dict[str, Shard]) -> dict[str, Split]:
    """Return what each split holds."""
    images = dict(index.db.execute("SELECT split, count(*) FROM items WHERE rejected = 0 GROUP BY split"))
    splits = {}
    for split in features.SPLITS:
        if split not in images:
            continue
        of_split = tuple(shards[shard.name] for shard in plan.shards if shard.split == split)
        counts = BoxCounts.total(shard.boxes for shard in of_split)
        shown = plan.truth.images_by_class(index.db, split, counts)
        by_class = {name: shown.get(name, 0) for name in plan.class_names}
        boxes = plan.truth.boxes_by_class(counts, plan.class_names)
        splits[split] = Split(images[split], by_class, of_split, boxes)
    return splits


def note_rejected(index: Index, plan: Plan, shards: dict[str, Shard]) -> None:
    """Mark the images that did not decode, and boxes that cannot be used, in the index."""
    for planned in plan.shards:
        for path, reason, source_sha256 in shards[planned.name].rejected:
            index.reject(path, reason)
            # Two images may have one path: data sets bring their own.
            index.db.execute(
                "UPDATE items SET rejected = 1 WHERE split = ? AND shard = ? AND path = ? AND hash = ?",
                (planned.split, planned.number, path, bytes.fromhex(source_sha256)),
            )
        counted = shards[planned.name].boxes
        for path, reason in counted.left_out if counted is not None else ():
            index.reject(path, reason, is_box=True)
    index.db.commit()
