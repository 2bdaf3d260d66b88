"""Counts of boxes: by shard in the manifest, and in all for what an ingest warns about and refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from components.base.words import format_count

_BY_NAME = ("images", "boxes", "fits")


@dataclasses.dataclass
class BoxCounts:
    """Counts of written records with boxes.

    Attributes:
        images: Images that show a class, by class; without classes that have none.
        boxes: Boxes by class; without classes that have none.
        most: The largest number of boxes of one image.
        empty: Images without a box.
        cut: Boxes that reached beyond their image.
        scaled: Images of another size than was annotated.
        difficult: Boxes that are marked so.
        copies, beyond, fits: Boxes, as in `components.ingest.truth.boxes.PlacedBoxes`.
        turn_unknown: Images, as there.
        left_out: (path, reason) of every box that cannot be used.
    """

    images: dict[str, int] = dataclasses.field(default_factory=dict)
    boxes: dict[str, int] = dataclasses.field(default_factory=dict)
    most: int = 0
    empty: int = 0
    cut: int = 0
    scaled: int = 0
    difficult: int = 0
    copies: int = 0
    beyond: int = 0
    turn_unknown: int = 0
    fits: dict[str, int] = dataclasses.field(default_factory=dict)
    left_out: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    @property
    def listed(self) -> int:
        """All boxes that the annotations of the images list."""
        return sum(self.boxes.values()) + len(self.left_out) + self.copies

    @property
    def _are_mostly_difficult(self) -> bool:
        return 2 * self.difficult > sum(self.boxes.values())

    @classmethod
    def from_json(cls, read: dict[str, Any]) -> BoxCounts:
        """Return the inverse of dataclasses.asdict and json."""
        return cls(**{**read, "left_out": [(path, reason) for path, reason in read["left_out"]]})

    @classmethod
    def total(cls, parts: Iterable[BoxCounts | None]) -> BoxCounts:
        """Return the sum of all parts."""
        whole = cls()
        for part in filter(None, parts):
            whole.add(part)
        for name in _BY_NAME:
            setattr(whole, name, dict(sorted(getattr(whole, name).items())))
        return whole

    def add(self, other: BoxCounts) -> None:
        """Add the counts of other images."""
        self.most = max(self.most, other.most)
        self.left_out += other.left_out
        for name in ("empty", "cut", "scaled", "difficult", "copies", "beyond", "turn_unknown"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _BY_NAME:
            mine = getattr(self, name)
            for key, count in getattr(other, name).items():
                mine[key] = mine.get(key, 0) + count

    def remarks(self) -> list[str]:
        """Return a sentence for each kind of box that is not as it was listed, or not sure to be right."""
        told = (
            (
                self.left_out and format_count(len(self.left_out), "box was", "boxes were"),
                "left out, and what is in there counts as background: the list of rejects has each",
            ),
            (
                self.cut and format_count(self.cut, "box", "boxes"),
                "reached beyond the edge of the image and ended there",
            ),
            (
                self.copies and format_count(self.copies, "box", "boxes"),
                f"of {self.listed} repeated another box of the same image, with the same class and the same "
                "sides: each copy was dropped",
            ),
            (
                self.turn_unknown and format_count(self.turn_unknown, "image", "images"),
                "with boxes turned by EXIF, and nothing says whether the boxes are of the image as it is "
                "seen or as the file holds it: read as seen; compare some with their images",
            ),
            (
                self.scaled and format_count(self.scaled, "image", "images"),
                "of another size than annotated, in the same shape: the boxes were scaled too",
            ),
            (
                self._are_mostly_difficult and format_count(self.difficult, "box", "boxes"),
                f"of {sum(self.boxes.values())} {'is' if self.difficult == 1 else 'are'} marked as difficult "
                "(iscrowd in COCO): the evaluation does not count them, and training ignores them unless "
                "train_on_difficult is set",
            ),
            (
                self.empty and format_count(self.empty, "image", "images"),
                "without a box: kept, as background",
            ),
        )
        return [f"{count} {what}." for count, what in told if count]
