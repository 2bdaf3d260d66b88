"""The whole inspection: guess the source, rehearse the ingest, look at the images, and sum up."""

import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from components.base.errors import MiranteError, UsageError
from components.base.task import part, task_named
from components.ingest import is_manifest, read_manifest
from components.ingest.bit_depth import Depths
from components.ingest.fits import Fit
from components.ingest.manifest import Split
from components.ingest.passes import Progress
from components.ingest.refusals import Refusals, TooManyRejectsError
from components.ingest.rehearsal import rehearse
from components.ingest.remarks import about_depths, about_left_out, remarks
from components.ingest.sources import source_named
from components.ingest.truth.counts import BoxCounts
from pipeline.data.examples import check_found
from pipeline.data.shards import Found
from pipeline.inspection.advice import choose_command
from pipeline.inspection.boxes import PlacedCounts
from pipeline.inspection.copies import find_copies
from pipeline.inspection.doubts import find_doubts
from pipeline.inspection.draw import draw
from pipeline.inspection.facts import ClassCount, Facts, Reading, Sizes, Spread, describe_labels
from pipeline.inspection.groups import group_by_reason
from pipeline.inspection.look import Asked, Seen, find_source, reject, see
from pipeline.inspection.protocol import TaskInspection
from pipeline.inspection.suspects import find_suspects
from schemas import features


def inspect(asked: Asked, progress: Progress | None = None) -> Facts:
    """Return what is to be known about data before a model is trained on them.

    Args:
        asked: The data, and how to look at them.
        progress: Called as progress(phase, done, total).

    Raises:
        UsageError: There are no such data, no source reads them, or an option is wrong.
        DataRefusedError: The data are damaged so that nothing can be said about them.
    """
    began = time.monotonic()
    progress = progress or (lambda phase, done, total: None)
    with tempfile.TemporaryDirectory(prefix="mirante-inspect-") as scratch:
        folder = Path(scratch)
        fit, others = find_source(asked, folder)
        source = source_named(fit.source)
        given = Path(asked.data) if source.needs_input else None
        # What is refused is reported below, with all the rest.
        needed = _find_needed(asked)
        lenient = asked.config.model_copy(update={"max_reject_share": 1.0, **needed})
        with rehearse(fit.source, given, lenient, folder, progress) as rehearsal:
            seen = see(asked, rehearsal, progress)
            placed = PlacedCounts(rehearsal.index, seen.measured)
            reject(rehearsal, placed.wrong_images)
            return _sum_up(asked, fit, others, seen, placed, folder, began)


def _find_needed(asked: Asked) -> Mapping[str, object]:
    """Return the options with which ingested data are read as what they are."""
    manifest = read_manifest(Path(asked.data)) if is_manifest(Path(asked.data)) else None
    return {} if manifest is None else task_named(manifest.task).ingest


def _sum_up(
    asked: Asked,
    fit: Fit,
    others: list[Fit],
    seen: Seen,
    placed: PlacedCounts,
    folder: Path,
    began: float,
) -> Facts:
    index, plan = seen.rehearsal.index, seen.rehearsal.plan
    task = plan.truth.task
    inspection: TaskInspection = part(task, "inspection")
    counts = BoxCounts.total(placed.by_split.values())
    splits = _splits(seen, placed)
    classes = [
        ClassCount(
            name,
            sum(split.class_counts[name] for split in splits.values()),
            {split: found.class_counts[name] for split, found in splits.items()},
            counts.boxes.get(name, 0) if inspection.HAS_BOXES else None,
        )
        for name in plan.class_names
    ]
    paths = dict(index.db.execute("SELECT id, path FROM items"))
    suspicious = find_suspects(list(seen.measured.values()), paths)
    sizes = _sizes(seen)
    images = sum(split.images for split in splits.values())
    most, least = (choose((one.images for one in classes), default=0) for choose in (max, min))
    ingested = is_manifest(Path(asked.data))
    doubts = None
    if asked.model is not None:
        if not inspection.HAS_ONE_CLASS:
            raise UsageError(
                f"--model {asked.model}: expected data with one class per image, got "
                f"{task_named(task).gives}; leave it out"
            )
        doubts = find_doubts(asked.model, seen, all_images=asked.all_images)
    return Facts(
        data=asked.data,
        ingested=ingested,
        source=Reading(fit.source, fit.why, f"--source {fit.source}"),
        other_sources=[Reading(other.source, other.why, f"--source {other.source}") for other in others],
        task=task,
        images=images,
        classes=classes,
        imbalance=round(most / least, 1) if len(classes) > 1 and least else None,
        splits={name: split.images for name, split in splits.items()},
        splits_brought=_brought(seen),
        sizes=sizes,
        copies=find_copies(index, plan),
        rejects=group_by_reason(index.rejects()),
        # Of ingested data these are the files of the ingest itself.
        left_out=group_by_reason(() if ingested else index.left_out()),
        suspicious=suspicious,
        looked_at=seen.looked_at,
        boxes=placed.describe() if inspection.HAS_BOXES else None,
        labels=describe_labels(plan.truth.images_by_labels(index.db)),
        doubts=doubts,
        warnings=_warnings(asked, seen, splits, counts, ingested=ingested),
        refused=_refused(asked, fit.source, seen, splits, counts, folder),
        drawn=[] if asked.draw is None else draw(seen, asked.draw, suspicious),
        command=choose_command(
            asked.data if source_named(fit.source).needs_input else "",
            fit.source,
            task,
            images,
            sizes,
            asked.config,
            asked.options,
            ingested=ingested,
        ),
        seconds=round(time.monotonic() - began, 2),
    )


def _splits(seen: Seen, placed: PlacedCounts) -> dict[str, Split]:
    """Return the splits as a manifest would have them, without shards."""
    index, plan = seen.rehearsal.index, seen.rehearsal.plan
    images = dict(index.db.execute("SELECT split, count(*) FROM items WHERE rejected = 0 GROUP BY split"))
    splits = {}
    for split in features.SPLITS:
        if split in images:
            counts = placed.by_split.get(split, BoxCounts())
            shown = plan.truth.images_by_class(index.db, split, counts)
            by_class = {name: shown.get(name, 0) for name in plan.class_names}
            boxes = plan.truth.boxes_by_class(counts, plan.class_names)
            splits[split] = Split(images[split], by_class, (), boxes)
    return splits


def _brought(seen: Seen) -> list[str]:
    rows = seen.rehearsal.index.db.execute("SELECT DISTINCT brought FROM items WHERE brought IS NOT NULL")
    return sorted((split for (split,) in rows), key=features.SPLITS.index)


def _sizes(seen: Seen) -> Sizes | None:
    images = list(seen.measured.values())
    width = Spread.of([image.width for image in images])
    height = Spread.of([image.height for image in images])
    aspect = Spread.of([round(image.width / image.height, 3) for image in images])
    if width is None or height is None or aspect is None:
        return None
    formats = Counter(image.format for image in images)
    channels = Counter(str(image.channels) for image in images)
    by_count = sorted(formats.items(), key=lambda row: (-row[1], row[0]))
    return Sizes(len(images), width, height, aspect, dict(by_count), dict(sorted(channels.items())))


def _warnings(
    asked: Asked, seen: Seen, splits: Mapping[str, Split], counts: BoxCounts, *, ingested: bool
) -> list[str]:
    manifest = read_manifest(Path(asked.data)) if ingested else None
    if manifest is not None:
        return list(manifest.warnings)
    index = seen.rehearsal.index
    # Shown by themselves.
    left_out = about_left_out(index)
    found = [text for text in remarks(index, seen.rehearsal.plan, splits, counts) if text not in left_out]
    rule = seen.config.bit_depth
    paths = dict(index.db.execute("SELECT id, path FROM items"))
    depths = Depths.total(
        Depths.of(paths[key], image.largest, rule)
        for key, image in seen.measured.items()
        if image.largest is not None
    )
    # That a rule changes nothing is known of all images alone.
    is_known = depths.images > 0 or seen.looked_at == len(seen.measured)
    return [*found, *(about_depths(index, depths, rule) if is_known else [])]


def _refused(
    asked: Asked, source: str, seen: Seen, splits: Mapping[str, Split], counts: BoxCounts, folder: Path
) -> list[str]:
    """Return why an ingest, or a run after it, would refuse the data."""
    index, plan = seen.rehearsal.index, seen.rehearsal.plan
    # Counted anew, with the images that turned out to be damaged.
    errors = [error for error in seen.rehearsal.refused if not isinstance(error, TooManyRejectsError)]
    refusals = Refusals(source, Path(asked.data), folder, asked.config, errors)
    refusals.too_many(index)
    refusals.misread_boxes(counts)
    refusals.too_many_boxes(index, counts)
    by_class = {
        split: [found.class_counts[name] for name in plan.class_names] for split, found in splits.items()
    }
    task = plan.truth.task
    found = Found(task, dict.fromkeys(splits, ""), plan.class_names, by_class, counts.most, {})
    try:
        if splits:
            check_found(Path(asked.data), found, task, asked.config)
    except MiranteError as error:
        errors.append(error)
    return list(dict.fromkeys(map(str, errors)))
