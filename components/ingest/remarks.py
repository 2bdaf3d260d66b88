"""What an ingest warns about: data that can be used, and is probably not what was meant."""

import collections
import os
from collections.abc import Iterable, Mapping

from components.base.printable import printable
from components.base.words import format_count, format_part, format_some
from components.ingest.bit_depth import AUTO, DEPTHS, LOW_RANGE, UPPER, Depths, find_depth
from components.ingest.class_names import about_names
from components.ingest.examine import IN_COLOUR
from components.ingest.files import EMPTY_FOLDER
from components.ingest.index import Index
from components.ingest.manifest import LEFT_OUT, Manifest, Split
from components.ingest.plan import Plan
from components.ingest.sources.context import SourceContext
from components.ingest.truth.counts import BoxCounts
from schemas import features

_NAMES_SHOWN = 5
_COPIES_LETTERS = 300
# How an image is called whose copies are in several splits.
_WITH_SPLIT = "path || ' (' || split || ')'"


def remarks(index: Index, plan: Plan, splits: Mapping[str, Split], boxes: BoxCounts) -> list[str]:
    """Return one sentence for everything that is odd about the data; boxes: of all splits."""
    found = [*index.warnings(), *about_left_out(index)]
    if features.TRAIN not in splits:
        found.append(f"There is no {features.TRAIN} split: nothing can be trained on this data.")
    found += plan.truth.remarks(index.db, plan.class_names)
    for name, split in splits.items():
        empty = [class_name for class_name, images in split.class_counts.items() if not images]
        if empty:
            have = format_part(empty, plan.class_names, "class has", "classes have")
            found.append(f"{have} no image in {name}: {_join(empty)}.")
    if plan.cross_split_duplicates:
        found.append(
            f"{format_count(plan.cross_split_duplicates, 'image is', 'images are')} in more than one split, "
            "identical to the byte: what is measured on them is too good: "
            f"{_copies(index, 'split', _WITH_SPLIT)}."
        )
    if plan.label_conflicts:
        found.append(
            f"{format_count(plan.label_conflicts, 'image is', 'images are')} there {plan.truth.conflict}, "
            f"identical to the byte: {_copies(index, 'truth', plan.truth.called)}."
        )
    if plan.small_classes:
        small = _join(f"{name} ({count})" for name, count in plan.small_classes.items())
        found.append(
            f"{format_count(len(plan.small_classes), 'class has', 'classes have')} fewer images than there "
            "are splits (images that belong together count once): they are in train, unless another class "
            f"needs them elsewhere: {small}."
        )
    found += _about_copies(index)
    found += _about_groups(index)
    if plan.copies.originals:
        found.append(
            f"{plan.copies.images} images are an exporter's copies of "
            f"{format_count(plan.copies.originals, 'original')} (by their names, x.rf.HASH.jpg): those of "
            "one original are carved out of train together."
        )
    found += boxes.remarks()
    found += about_names(plan.class_names)
    return found


def about_depths(index: Index, depths: Depths, rule: str) -> list[str]:
    """Return sentences about images with 16 bits per channel that `bit_depth`, the rule, does not fit."""
    largest, path = index.find_largest() or (0, "")
    fitting, found = find_depth(depths.largest), []
    if depths.dark:
        images = format_count(depths.dark, "image has", "images have")
        key = "in a recipe data.bit_depth; "
        if largest == IN_COLOUR:
            key = ""
            advice = "convert them to 8 bits before, as --bit-depth rejects images with several channels of "
            advice += f"16 bits, such as {printable(path)}"
        elif fitting is not None:
            advice = f"all values are at most {depths.largest:,}: --bit-depth {fitting} keeps their range"
        else:
            advice = f"other images have values up to {depths.largest:,}: see --bit-depth percentile"
        found.append(f"{images} {LOW_RANGE}; {advice} ({key}the first: {printable(depths.first_dark)}).")
    if depths.above:
        images = format_count(depths.above, "image has", "images have")
        found.append(
            f"{images} values above {(1 << int(rule)) - 1:,}, which become white with bit_depth {rule}; the "
            f"largest value is {depths.largest:,}: --bit-depth {fitting or UPPER} keeps their range (the "
            f"first: {printable(depths.first_above)})."
        )
    if not depths.images and rule in DEPTHS and rule != UPPER:
        found.append(f"bit_depth {rule} changes nothing: no image has 16 bits per channel.")
    return found


def about_former(former: Manifest, manifest: Manifest) -> list[str]:
    """Return what is to be known of a data folder that an ingest with a manifest of its own has replaced."""
    found = []
    if former.code != manifest.code:
        found.append("the data were ingested by other code than this Mirante's: all of them were read again")
    if manifest.options.get("bit_depth") == AUTO and former.bit_depth != manifest.bit_depth:
        found.append(
            f"bit_depth auto: {manifest.bit_depth}, and {former.bit_depth} in the former ingest: images with "
            "16 bits per channel have other pixels than those that earlier models were trained on; such a "
            "model keeps its own rule, and a new one needs a new training"
        )
    return found


def note_unused_split_names(context: SourceContext) -> None:
    """Warn about each key of split_names that nothing in the data is called."""
    unused = context.unused_split_names()
    if unused:
        context.index.warn(
            f"split_names: nothing in the data is called {_join(unused)}; correct the name, or leave it out."
        )


def about_left_out(index: Index) -> list[str]:
    """Return a sentence for each kind of file and folder that is left out."""
    endings: collections.Counter[str] = collections.Counter()
    empty: list[str] = []
    for path, reason in index.left_out():
        if reason.startswith("no image"):
            name = path.rpartition("/")[2]
            endings[os.path.splitext(name)[1].lower() or name] += 1
        elif reason == EMPTY_FOLDER:
            empty.append(path)
    found = []
    if endings:
        kinds = ", ".join(
            f"{printable(ending)} {count}" for ending, count in endings.most_common(_NAMES_SHOWN)
        )
        found.append(
            format_count(endings.total(), "file is no image by its", "files are no images by their")
            + f" name and left out ({kinds}); {LEFT_OUT} has the list."
        )
    if empty:
        found.append(f"{format_count(len(empty), 'folder is', 'folders are')} empty: {_join(empty)}.")
    return found


def _copies(index: Index, column: str, called: str) -> str:
    """Return the first copies of images that have several values in the column, each as SQL calls it."""
    groups = index.db.execute(
        f"SELECT group_concat({called}, ' = ') FROM (SELECT hash, path, split, truth FROM items "
        f"ORDER BY hash, path) GROUP BY hash HAVING min({column}) < max({column}) LIMIT {_NAMES_SHOWN}"
    )
    return "; ".join(printable(text)[:_COPIES_LETTERS] for (text,) in groups)


def _about_groups(index: Index) -> list[str]:
    """Return a sentence about groups that the data put in several splits."""
    groups = index.db.execute(
        "SELECT grouped, min(split), max(split) FROM items GROUP BY grouped "
        "HAVING grouped IS NOT NULL AND min(split) < max(split) ORDER BY grouped"
    ).fetchall()
    if not groups:
        return []
    shown = _join(f"{group} ({one}, {other})" for group, one, other in groups)
    return [
        f"{format_count(len(groups), 'group is', 'groups are')} in more than one split, as the data bring "
        f"them: what is measured on them is too good: {shown}."
    ]


def _about_copies(index: Index) -> list[str]:
    """Return a sentence about images that are there several times, with one truth."""
    same = (
        "SELECT min(path) AS one, max(path) AS other, count(*) - 1 AS more FROM items WHERE rejected = 0 "
        "GROUP BY hash HAVING more > 0 AND min(truth) = max(truth) AND min(split) = max(split)"
    )
    more, first, second = index.db.execute(
        f"SELECT total(more), one, other FROM ({same}) ORDER BY one LIMIT 1"
    ).fetchone()
    if not more:
        return []
    shown = f"{first}, listed twice" if first == second else f"{first} = {second}"
    return [
        f"{format_count(int(more), 'image repeats', 'images repeat')} another one of the same class and "
        f"split, identical to the byte: each counts again (for example {printable(shown)})."
    ]


def _join(names: Iterable[str]) -> str:
    return format_some(map(printable, names), _NAMES_SHOWN)
