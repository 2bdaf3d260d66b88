"""Images that are there several times: the list in copies.csv, and what is said about it.

    group,path,split,labels,alike,to
    1,cats/1.jpg,train,cats,,
    1,cats/1 (copy).jpg,train,cats,bytes,cats/1.jpg
    1,dogs/7.png,train,dogs,mirrored,cats/1.jpg

`alike` says in what an image is like the one in `to`: `bytes`, `pixels`, `look` (encoded again or scaled) or
`mirrored`. `labels` has each class of an image once.
"""

import collections
from typing import NamedTuple

from components.base.printable import printable
from components.base.table import format_table
from components.base.words import format_count
from components.ingest.index import Index
from components.ingest.manifest import COPIES
from components.ingest.units import Ties

BYTES = "bytes"
_SHOWN = 3


class Copy(NamedTuple):
    """A row of copies.csv; see the module's docstring."""

    group: int
    path: str
    split: str
    labels: str
    alike: str
    to: str


# An image, and a copy of it.
Pair = tuple[Copy, Copy]


def list_copies(index: Index) -> list[Copy]:
    """Return every image that is there several times; items have their splits.

    Groups are in the order of their first paths, and so are the images of a group.
    """
    images: dict[bytes, list[tuple[str, str, str]]] = collections.defaultdict(list)
    for digest, path, split, truth in index.db.execute(
        "SELECT hash, path, split, truth FROM items WHERE rejected = 0 AND hash IN "
        "(SELECT one FROM alike UNION SELECT other FROM alike "
        "UNION SELECT hash FROM items GROUP BY hash HAVING count(*) > 1) "
        "ORDER BY path, id"
    ):
        labels = "; ".join(sorted(set(index.truth.from_text(truth).classes)))
        images[digest].append((path, split, labels))
    ties, alike = Ties[bytes](), collections.defaultdict[bytes, list[tuple[bytes, str]]](list)
    for digest in images:
        ties.find(digest)
    for one, other, how in index.db.execute("SELECT one, other, how FROM alike ORDER BY one, other"):
        if one in images and other in images:
            ties.join(one, other)
            alike[one].append((other, how))
            alike[other].append((one, how))
    # `images` is in the order of its first paths.
    groups: dict[bytes, list[bytes]] = {}
    for digest in images:
        groups.setdefault(ties.find(digest), []).append(digest)
    several = (group for group in groups.values() if len(group) > 1 or len(images[group[0]]) > 1)
    return [row for number, group in enumerate(several, 1) for row in _rows(number, group, images, alike)]


def _rows(
    number: int,
    group: list[bytes],
    images: dict[bytes, list[tuple[str, str, str]]],
    alike: dict[bytes, list[tuple[bytes, str]]],
) -> list[Copy]:
    """Return the rows of a group; its first image has the first path."""
    like = {group[0]: ("", "")}
    reached = collections.deque([group[0]])
    while reached:
        digest = reached.popleft()
        for other, how in alike.get(digest, ()):
            if other not in like:
                like[other] = how, images[digest][0][0]
                reached.append(other)
    rows = []
    for digest in group:
        first = images[digest][0][0]
        for place, (path, split, labels) in enumerate(images[digest]):
            how, to = like[digest] if not place else (BYTES, first)
            rows.append(Copy(number, path, split, labels, how, to))
    return sorted(rows, key=lambda row: (bool(row.alike), row.path))


def copies_bytes(copies: list[Copy]) -> bytes:
    """Return the bytes of copies.csv."""
    return format_table(Copy._fields, copies).encode("utf-8")


class NearCopies(NamedTuple):
    """Pairs of an image and its copy, whose bytes differ.

    Attributes:
        alike: All of them.
        other_labels: Those with different labels.
        other_split: Those in different splits.
    """

    alike: list[Pair]
    other_labels: list[Pair]
    other_split: list[Pair]


def find_near(copies: list[Copy]) -> NearCopies:
    """Return the copies with different bytes."""
    by_path = {copy.path: copy for copy in copies}
    near = [(by_path[copy.to], copy) for copy in copies if copy.alike not in ("", BYTES)]
    return NearCopies(
        near,
        [(one, copy) for one, copy in near if one.labels != copy.labels],
        [(one, copy) for one, copy in near if one.split != copy.split],
    )


def about_copies(copies: list[Copy]) -> list[str]:
    """Return sentences about copies with different bytes; others tell of equal bytes."""
    near = find_near(copies)
    if not near.alike:
        return []
    found = [
        f"{format_count(near.alike, 'image looks', 'images look')} like another one though the bytes differ "
        f"(encoded again, scaled or mirrored): such copies are carved out of train together "
        f"({_show(near.alike)}); {COPIES} lists all copies."
    ]
    if near.other_labels:
        found.append(
            f"{format_count(near.other_labels, 'image has', 'images have')} other labels than an image that "
            f"looks the same: {_show(near.other_labels, 'labels')}; {COPIES} lists all copies."
        )
    if near.other_split:
        found.append(
            f"{format_count(near.other_split, 'image is', 'images are')} in another split than an image that "
            "looks the same, as the data bring them: what is measured on them is too good: "
            f"{_show(near.other_split, 'split')}."
        )
    return found


def _show(pairs: list[Pair], column: str = "") -> str:
    """Return the first pairs of images, each with one of its columns if one is named."""
    shown = [
        " and ".join(
            printable(one.path) + (f" ({printable(getattr(one, column))})" if column else "") for one in pair
        )
        for pair in pairs[:_SHOWN]
    ]
    return "; ".join(shown) + ("; and more" if len(pairs) > _SHOWN else "")
