"""Give every image of an index its split: what belongs together stays together, no class is left out.

All is decided by the sources alone:

1. Images that belong together form a unit, see components.ingest.units. Every other image is a unit by
   itself.
2. A unit's hash decides its split; see components.ingest.splits.
3. A class with fewer units than splits is learned rather than judged: all of its units go to train.
4. Any other class that has no image in a split gets one: the unit whose hash is nearest to that split's
   range.

So adding, removing or renaming images moves no other image, except for units that steps 3 and 4 lend: they
return once their class has an image of its own there, and another one may be lent for an image that left.
"""

import collections
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from components.ingest.index import Index
from components.ingest.splits import missing_splits, splitter
from components.ingest.units import Copies, set_units
from schemas import features

# Images whose split is not the data's: those without one, and those of train, which lends to missing splits.
_CARVED = "(brought IS NULL OR brought = 'train')"


class Assigned(NamedTuple):
    """The findings while splits were assigned.

    Attributes:
        copies: Apart from equal bytes.
        small: The classes with fewer units than splits, with their number of units.
    """

    copies: Copies
    small: dict[str, int]


def assign_splits(index: Index, shares: Mapping[str, float]) -> Assigned:
    """Write the split of every item into the index; every item has its hash already.

    Args:
        index: Its items get `unit` and `split`.
        shares: Share of the images by split; what the data brings wins.
    """
    db = index.db
    db.execute(f"CREATE INDEX items_by_hash ON items (hash, split, {index.truth.order})")
    copies = set_units(index)
    brought = {
        split for (split,) in db.execute("SELECT DISTINCT brought FROM items WHERE brought IS NOT NULL")
    }
    db.create_function("split_of", 2, splitter(shares, brought), deterministic=True)
    db.execute("UPDATE items SET split = split_of(brought, unit)")
    small: dict[str, int] = {}
    if missing := missing_splits(shares, brought):
        wanted = [features.TRAIN] if shares.get(features.TRAIN, 0.0) > 0 or features.TRAIN in brought else []
        lending = _Lending(index, [*wanted, *missing])
        if wanted:
            lending.keep_small_classes()
        lending.fill_splits()
        lending.save()
        small = lending.small
    db.commit()
    return Assigned(copies, small)


class _Lending:
    """Moves as few units as possible so that each class has one in each split that it needs.

    Args:
        index: Its items have a split.
        wanted: The splits, train first.

    Attributes:
        small: The classes with fewer units than splits, with their number of units.
    """

    def __init__(self, index: Index, wanted: Sequence[str]) -> None:
        self._index, self._wanted = index, wanted
        index.db.execute(f"CREATE TEMP VIEW shown AS {index.truth.shown} WHERE {_CARVED}")
        self._counts: collections.Counter[tuple[str, str]] = collections.Counter()
        totals: collections.Counter[str] = collections.Counter()
        for name, split, count in index.db.execute(
            "SELECT name, split, count(DISTINCT unit) FROM shown GROUP BY name, split"
        ):
            self._counts[name, split] = count
            totals[name] += count
        self._totals = totals
        self.small = {name: totals[name] for name in sorted(totals) if totals[name] < len(wanted)}
        # (split, all its classes) of each unit, and the units of each class, in order; of the classes that
        # were asked for.
        self._units: dict[bytes, tuple[str, frozenset[str]]] = {}
        self._by_class: dict[str, list[bytes]] = {}
        self._moved: dict[bytes, str] = {}

    def keep_small_classes(self) -> None:
        """Move the units of small classes to train, unless that takes another class's last one."""
        self._load(self.small)
        for name in self.small:
            for unit in self._by_class[name]:
                if self._units[unit][0] != features.TRAIN and self._gain(unit, features.TRAIN) >= 0:
                    self._move(unit, features.TRAIN)

    def fill_splits(self) -> None:
        """Give each class a unit in each split that it needs, where that is possible."""
        while lacking := self._lacking():
            self._load({name for name, _ in lacking})
            before = len(self._moved)
            # The rarest first: it has the fewest units to choose from.
            for name, target in sorted(lacking, key=lambda lack: (self._totals[lack[0]], lack[0])):
                if self._lacks(name, target) and (unit := self._unit_to_lend(name, target)) is not None:
                    self._move(unit, target)
            if len(self._moved) == before:
                return

    def save(self) -> None:
        """Write the splits of the units that moved into the index."""
        self._index.db.executemany(
            f"UPDATE items SET split = ? WHERE unit = ? AND {_CARVED}",
            ((split, unit) for unit, split in self._moved.items()),
        )

    def _needs(self, name: str, split: str) -> bool:
        """Return whether a class is to have a unit in a split; a small one only in the first, train."""
        return split in (self._wanted[:1] if name in self.small else self._wanted)

    def _lacks(self, name: str, split: str) -> bool:
        return self._needs(name, split) and not self._counts[name, split]

    def _lacking(self) -> list[tuple[str, str]]:
        """Return (class, split) where a class has none; in the order of `wanted` for each class."""
        return [(name, split) for name in self._totals for split in self._wanted if self._lacks(name, split)]

    def _gain(self, unit: bytes, target: str) -> int:
        """Return how many gaps of classes in splits a move closes, less those that it makes."""
        source, classes = self._units[unit]
        closed = sum(self._lacks(name, target) for name in classes)
        return closed - sum(self._needs(name, source) and self._counts[name, source] == 1 for name in classes)

    def _unit_to_lend(self, name: str, target: str) -> bytes | None:
        """Return the unit of a class that goes to `target`; None if each makes more gaps than it closes.

        A unit moves once. One that closes a gap and makes another is taken, too, if there is no better one.
        """
        # The lower a hash, the nearer to the ranges of eval and test; the higher, the nearer to train's.
        ordered = self._by_class[name] if target != features.TRAIN else self._by_class[name][::-1]
        able = [
            unit
            for unit in ordered
            if unit not in self._moved and self._units[unit][0] != target and self._gain(unit, target) >= 0
        ]
        # From the split that has the most of the class; sorting keeps the order of the hashes.
        return min(
            able,
            key=lambda unit: (-self._gain(unit, target), -self._counts[name, self._units[unit][0]]),
            default=None,
        )

    def _move(self, unit: bytes, target: str) -> None:
        source, classes = self._units[unit]
        self._units[unit] = target, classes
        self._counts.subtract((name, source) for name in classes)
        self._counts.update((name, target) for name in classes)
        self._moved[unit] = target

    def _load(self, names: Collection[str]) -> None:
        """Take the units of these classes from the index."""
        db, new = self._index.db, set(names) - self._by_class.keys()
        if not new:
            return
        db.execute("CREATE TEMP TABLE IF NOT EXISTS asked (name TEXT PRIMARY KEY)")
        db.execute("DELETE FROM asked")
        db.executemany("INSERT INTO asked VALUES (?)", ((name,) for name in new))
        found: dict[bytes, tuple[str, set[str]]] = {}
        for unit, split, name in db.execute(
            "SELECT DISTINCT unit, split, name FROM shown "
            "WHERE unit IN (SELECT unit FROM shown WHERE name IN (SELECT name FROM asked))"
        ):
            found.setdefault(unit, (split, set()))[1].add(name)
        self._by_class |= {name: [] for name in new}
        for unit in sorted(found):
            split, classes = found[unit]
            self._units.setdefault(unit, (split, frozenset(classes)))
            for name in classes & new:
                self._by_class[name].append(unit)
