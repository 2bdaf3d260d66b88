"""Gives every image of an index its split: what belongs together stays together, no class is left out.

Three steps, all decided by the sources alone:

1. Images that belong together form a unit, see components.ingest.units. Every other image is a unit by
   itself.
2. A unit's hash decides its split; see components.ingest.splits.
3. A class that has no image in a split, though it has units enough for all of them, gets one: the unit whose
   hash is nearest to that split's range. Adding images never moves another one, except that such a lent unit
   goes back once the class has an image of its own there.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence

from components.ingest.index import Index
from components.ingest.splits import missing_splits, splitter
from components.ingest.units import Copies, set_units
from schemas import features

# Images whose split is not the data's: those without one, and those of train, which lends to missing splits.
_CARVED = "(brought IS NULL OR brought = 'train')"


def assign_splits(index: Index, shares: Mapping[str, float]) -> Copies:
    """Write the split of every item into the index; every item has its hash already.

    Args:
        index: Its items get `unit` and `split`.
        shares: Share of the images by split; what the data brings wins.

    Returns:
        The copies that were found, apart from equal bytes.
    """
    db = index.db
    db.execute(f"CREATE INDEX items_by_hash ON items (hash, split, {index.truth.order})")
    copies = set_units(index)
    brought = {
        split for (split,) in db.execute("SELECT DISTINCT brought FROM items WHERE brought IS NOT NULL")
    }
    db.create_function("split_of", 2, splitter(shares, brought), deterministic=True)
    db.execute("UPDATE items SET split = split_of(brought, unit)")
    if missing := missing_splits(shares, brought):
        wanted = [features.TRAIN] if shares.get(features.TRAIN, 0.0) > 0 or features.TRAIN in brought else []
        _give_every_class_an_image(index, [*wanted, *missing])
    db.commit()
    return copies


def _give_every_class_an_image(index: Index, wanted: Sequence[str]) -> None:
    """Move as few units as possible so that each class has one in each wanted split.

    Args:
        index: Its items have a split.
        wanted: The splits, train first. A class with fewer units than splits is only given one in train.
    """
    index.db.execute(f"CREATE TEMP VIEW shown AS {index.truth.shown} WHERE {_CARVED}")
    counts = collections.Counter(
        {
            (name, split): count
            for name, split, count in index.db.execute(
                "SELECT name, split, count(DISTINCT unit) FROM shown GROUP BY name, split"
            )
        }
    )
    names = {name for name, _ in counts}
    lacking = {name for name in names if any(not counts[name, split] for split in wanted)}
    if not lacking:
        return
    units = _units_that_show(index, lacking)
    totals = {name: sum(counts[name, split] for split in wanted) for name in lacking}
    moved: list[tuple[str, bytes]] = []
    by_class: dict[str, list[bytes]] = {name: [] for name in lacking}
    for unit in sorted(units):
        for name in lacking & units[unit][1]:
            by_class[name].append(unit)
    # The rarest first: it has the fewest units to choose from.
    for name in sorted(lacking, key=lambda name: (totals[name], name)):
        for target in wanted if totals[name] >= len(wanted) else wanted[:1]:
            if counts[name, target]:
                continue
            lent = _unit_to_lend(name, target, by_class[name], units, counts)
            if lent is None:
                continue
            source, classes = units[lent]
            units[lent] = target, classes
            counts.subtract((one, source) for one in classes)
            counts.update((one, target) for one in classes)
            moved.append((target, lent))
    if moved:
        index.db.executemany(f"UPDATE items SET split = ? WHERE unit = ? AND {_CARVED}", moved)


def _unit_to_lend(
    name: str,
    target: str,
    candidates: Sequence[bytes],
    units: Mapping[bytes, tuple[str, frozenset[str]]],
    counts: Mapping[tuple[str, str], int],
) -> bytes | None:
    """Return the unit of a class that goes to `target`, or None where each would take another's last one."""
    # The lower a hash, the nearer to the ranges of eval and test; the higher, the nearer to train's.
    ordered = candidates if target != features.TRAIN else candidates[::-1]
    # From the split that has the most of the class; sorting keeps the order of the hashes.
    for unit in sorted(ordered, key=lambda unit: -counts[name, units[unit][0]]):
        source, classes = units[unit]
        if source != target and all(counts[one, source] > 1 for one in classes):
            return unit
    if target == features.TRAIN and len(candidates) == 1:
        return candidates[0]  # a class of one image is learned rather than judged
    return None


def _units_that_show(index: Index, names: set[str]) -> dict[bytes, tuple[str, frozenset[str]]]:
    """Return (split, all its classes) of each unit that shows one of these classes."""
    index.db.execute("CREATE TEMP TABLE lacking (name TEXT PRIMARY KEY)")
    index.db.executemany("INSERT INTO lacking VALUES (?)", ((name,) for name in names))
    found: dict[bytes, tuple[str, frozenset[str]]] = {}
    for unit, split, name in index.db.execute(
        "SELECT DISTINCT unit, split, name FROM shown "
        "WHERE unit IN (SELECT unit FROM shown WHERE name IN (SELECT name FROM lacking))"
    ):
        _, classes = found.get(unit, (split, frozenset()))
        found[unit] = split, classes | {name}
    return found
