"""Joins images that must not be in two splits to units, which are carved out of train as a whole.

Images are together if they are of one group (`Item.group`), have equal bytes, are an exporter's copies of one
original (`cat_7_jpg.rf.HASH.jpg`, as augmented exports have them), or look the same. A chain of such ties
makes one unit, too. A unit is called by a hash, which decides its split:

    an image by itself           the hash of its source
    a group                      the hash of its name, whatever images it has
    an exporter's copies         the hash of the original's path, however many copies there are
    several of these, tied       the least hash of groups and originals; if there are none, of the images
"""

import collections
import dataclasses
import hashlib
import re
from typing import Generic, TypeVar

from components.ingest.index import Index

# `<original>.rf.<hash>.<ending>`: the names of a well-known exporter of augmented data sets.
_EXPORTED_COPY = re.compile(r"(?P<original>.+)\.rf\.[0-9A-Za-z]{6,}\.[0-9A-Za-z]+")

Member = TypeVar("Member", bytes, tuple[bool, bytes])


@dataclasses.dataclass(frozen=True)
class Copies:
    """Images that were made of the same originals.

    Attributes:
        images: How many an exporter made.
        originals: Of how many originals; 0 where no original has two images or more.
    """

    images: int = 0
    originals: int = 0


class Ties(Generic[Member]):
    """Sets of members that are tied, each with its least member."""

    def __init__(self) -> None:
        self._parents: dict[Member, Member] = {}

    def find(self, member: Member) -> Member:
        """Return the least member of the set."""
        parents = self._parents
        while (parent := parents.setdefault(member, member)) != member:
            parents[member] = parents[parent]
            member = parent
        return member

    def join(self, one: Member, other: Member) -> None:
        """Tie two members, and so their sets."""
        first, second = sorted((self.find(one), self.find(other)))
        self._parents[second] = first

    def members(self) -> list[Member]:
        """Return all members."""
        return list(self._parents)


def set_units(index: Index) -> Copies:
    """Write the unit of every item into the index; every item has its hash already.

    Returns:
        The copies that were found, apart from equal bytes.
    """
    db = index.db
    db.create_function("unit_of", 2, _unit_of, deterministic=True)
    db.execute("UPDATE items SET unit = hash")
    db.execute(
        "UPDATE items SET unit = coalesce(unit_of(grouped, path), hash) "
        "WHERE grouped IS NOT NULL OR path LIKE '%.rf.%'"
    )
    db.execute("CREATE INDEX items_by_unit ON items (unit)")
    # Names of groups and originals are less than hashes of images.
    ties = Ties[tuple[bool, bytes]]()
    # Equal bytes in several units. A unit that is not called by its image's hash is a group or an original.
    last: tuple[bytes, tuple[bool, bytes]] | None = None
    for digest, unit in db.execute(
        "SELECT DISTINCT hash, unit FROM items WHERE hash IN "
        "(SELECT hash FROM items GROUP BY hash HAVING min(unit) < max(unit)) ORDER BY hash, unit"
    ):
        named = unit == digest, unit
        if last is not None and last[0] == digest:
            ties.join(last[1], named)
        last = digest, named
    # Copies of one original in several groups.
    by_original: collections.Counter[str] = collections.Counter()
    for path, grouped in db.execute("SELECT path, grouped FROM items WHERE path LIKE '%.rf.%' ORDER BY id"):
        original = _original_of(path)
        if original is None:
            continue
        by_original[original] += 1
        if grouped is not None:
            ties.join((False, _hash_name("group", grouped)), (False, _hash_name("original", original)))
    for one, first, other, second in db.execute(
        "SELECT one, a.unit, other, b.unit FROM alike "
        "JOIN items a ON a.id = (SELECT min(id) FROM items WHERE hash = one) "
        "JOIN items b ON b.id = (SELECT min(id) FROM items WHERE hash = other)"
    ):
        ties.join((first == one, first), (second == other, second))
    roots = ((ties.find(member)[1], member[1]) for member in ties.members())
    db.executemany(
        "UPDATE items SET unit = ? WHERE unit = ?", [(new, old) for new, old in roots if new != old]
    )
    several = [count for count in by_original.values() if count > 1]
    return Copies(sum(several), len(several))


def _original_of(path: str) -> str | None:
    """Return the path of the original that an exporter made a copy of; None if the name is no copy's."""
    folder, _, name = path.rpartition("/")
    match = _EXPORTED_COPY.fullmatch(name)
    return f"{folder}/{match['original']}" if match is not None else None


def _unit_of(grouped: str | None, path: str) -> bytes | None:
    if grouped is not None:
        return _hash_name("group", grouped)
    original = _original_of(path)
    return None if original is None else _hash_name("original", original)


def _hash_name(kind: str, name: str) -> bytes:
    return hashlib.sha256(f"{kind} {name}".encode("utf-8", "surrogateescape")).digest()
