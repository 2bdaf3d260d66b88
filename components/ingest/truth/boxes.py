"""All boxes of an image, as an annotation gives them."""

from __future__ import annotations

import dataclasses
import json
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.base.words import format_part
from components.ingest.readings import LARGEST_SHARE, LEAST_PIXELS, Sides, Size
from components.ingest.truth.counts import BoxCounts
from components.ingest.truth.placing import Box, PlacedBoxes, place_boxes
from components.ingest.truth.truth import Truth
from schemas import features


@dataclasses.dataclass(frozen=True)
class Boxes(Truth):
    """All boxes of an image; none where nothing is to be found on it.

    Attributes:
        boxes: The boxes.
        size: (width, height) of the annotated image in pixels; None where it is not given.
        in_shares: Whether the boxes' numbers are shares of that image; else they are its pixels.
        copies: Boxes that were dropped because they repeat another one: same class, same sides.
    """

    task = features.DETECTION
    first_label = 1
    label = features.BOX_LABEL
    text = features.BOX_TEXT
    # The text is [[[class, ...], ...], ...]: the first of each of its first.
    shown = (
        "SELECT unit, split, json_extract(box.value, '$[0]') AS name FROM items, "
        "json_each(items.truth, '$[0]') AS box"
    )
    shows = (
        "EXISTS (SELECT 1 FROM json_each(items.truth, '$[0]') AS box "
        "WHERE json_extract(box.value, '$[0]') = ?)"
    )
    order = "id"
    called = "path"
    conflict = "with several sets of boxes"

    boxes: tuple[Box, ...] = ()
    size: Size | None = None
    in_shares: bool = False
    copies: int = 0

    def __post_init__(self) -> None:
        if self.size is not None and not all(side > 0 and math.isfinite(side) for side in self.size):
            object.__setattr__(self, "size", None)
        first: dict[tuple[object, ...], Box] = {}
        for box in self.boxes:
            # A crowd may lie exactly round an object: both count.
            first.setdefault((box.label, box.sides, box.difficult), box)
        if len(first) < len(self.boxes):
            object.__setattr__(self, "copies", self.copies + len(self.boxes) - len(first))
            object.__setattr__(self, "boxes", tuple(first.values()))

    @property
    def classes(self) -> Sequence[str]:
        """The class of each box."""
        return [box.label for box in self.boxes]

    def to_text(self) -> str:
        """Return all that is known, as JSON."""
        rows = [[box.label, *box.sides, int(box.difficult), int(box.truncated)] for box in self.boxes]
        copies = [self.copies] if self.copies else []
        return json.dumps([rows, self.size, self.in_shares, *copies], ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> Boxes:
        """Return the inverse of `to_text`."""
        rows, size, in_shares, *copies = json.loads(text)
        boxes = tuple(
            Box(label, xmin, ymin, xmax, ymax, bool(difficult), bool(truncated))
            for label, xmin, ymin, xmax, ymax, difficult, truncated in rows
        )
        return cls(boxes, tuple(size) if size else None, in_shares, *copies)

    def place(self, upright: Size, orientation: int) -> PlacedBoxes:
        """Return the boxes on the stored image; `components.ingest.truth.placing` has the rules."""
        placed = place_boxes(self.boxes, self.size, upright, orientation, in_shares=self.in_shares)
        return dataclasses.replace(placed, copies=self.copies)

    @classmethod
    def find_misreading(cls, texts: Iterator[str]) -> str | None:
        """Return the unit of most boxes if it is not the one that they are read in; None if it is."""
        total = shares = pixels = 0
        for boxes in map(cls.from_text, texts):
            for box in boxes.boxes:
                total += 1
                low, high = min(box.sides), max(box.sides)
                shares += not boxes.in_shares and low >= 0.0 and 0.0 < high <= LARGEST_SHARE
                pixels += boxes.in_shares and high > LEAST_PIXELS
        for count, are, expected, what in (
            (shares, "shares", "pixels", "no number outside of 0 .. 1"),
            (pixels, "pixels", "shares", f"numbers above {LEAST_PIXELS:g}"),
        ):
            if count > total / 2:
                found = format_part(count, total, "box with", "boxes with")
                return (
                    f"expected boxes in {expected}, got {found} {what}: they seem to be {are}; --box-units "
                    f"{are} (in a recipe data.box_units: {are}) reads them as such"
                )
        return None

    @classmethod
    def find_emptiness(cls, db: sqlite3.Connection) -> str | None:
        """Return that there is no box, or none that counts; None if there is one."""
        boxes = "FROM items, json_each(items.truth, '$[0]') AS box WHERE items.rejected = 0"
        if db.execute(f"SELECT 1 {boxes} LIMIT 1").fetchone() is None:
            return "none of its images has a box, so there is nothing to learn. Is it the right folder?"
        counts = f"SELECT 1 {boxes} AND json_extract(box.value, '$[5]') = 0 LIMIT 1"
        if db.execute(counts).fetchone() is None:
            (total,) = db.execute(f"SELECT count(*) {boxes}").fetchone()
            return (
                f"expected boxes of single objects, got {total} boxes, all of them marked as difficult "
                "(iscrowd in COCO): nothing would be trained on or counted by the evaluation; set the mark "
                "to 0 where a box is one object"
            )
        return None

    @classmethod
    def images_by_class(cls, db: sqlite3.Connection, split: str, counts: BoxCounts) -> dict[str, int]:
        """Return how many images of a split show each class, once boxes that cannot be used are left out."""
        return counts.images

    @classmethod
    def boxes_by_class(cls, counts: BoxCounts, class_names: Sequence[str]) -> dict[str, int]:
        """Return how many boxes each class has."""
        return {name: counts.boxes.get(name, 0) for name in class_names}

    @classmethod
    def counted(cls, counts: BoxCounts) -> dict[str, Any] | None:
        """Return the counts of a shard as its manifest has them."""
        return dataclasses.asdict(BoxCounts.total([counts]))

    @classmethod
    def boxes_in(cls, values: Mapping[str, list[Any]]) -> list[Sides]:
        """Return (xmin, ymin, xmax, ymax) of each box of a record, from its features."""
        return list(zip(*(values.get(name, []) for name in features.BOX_SIDES), strict=False))
