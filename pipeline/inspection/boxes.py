"""Boxes of a rehearsed ingest, placed on their images as they would be in records."""

import re
from collections.abc import Mapping

from components.ingest.index import Index
from components.ingest.truth.counts import BoxCounts
from components.ingest.truth.placing import PlacedBoxes
from components.ingest.truth.truth import WrongImageError
from pipeline.inspection.facts import Boxes, Group, Spread
from pipeline.inspection.groups import group_by_reason
from pipeline.inspection.measure import Measured

# Both recipes for boxes scale images to this size.
SCALED_PX = 320
_SMALL_PX = 8.0
_NUMBERED = re.compile(r"^box \d+ of \d+ \(.*?\): ")


class PlacedCounts:
    """The boxes of all images, counted by split as an ingest counts them; fills itself from an index.

    Attributes:
        by_split: Counts by split.
        wrong_images: Why, by the id of an image whose boxes are of another image.
    """

    def __init__(self, index: Index, measured: Mapping[int, Measured]) -> None:
        self.by_split: dict[str, BoxCounts] = {}
        self.wrong_images: dict[int, str] = {}
        self._widths: list[float] = []
        self._heights: list[float] = []
        self._shares: list[float] = []
        self._per_image: list[int] = []
        self._small = 0
        for key, path, text, split in index.db.execute(
            "SELECT id, path, truth, split FROM items WHERE rejected = 0 ORDER BY id"
        ):
            image = measured.get(key)
            if image is None or not image.width:
                continue
            try:
                placed = index.truth.from_text(text).place((image.width, image.height), image.orientation)
            except WrongImageError as error:
                self.wrong_images[key] = str(error)
                continue
            placed.count(path, self.by_split.setdefault(split, BoxCounts()))
            if isinstance(placed, PlacedBoxes):
                self._add(placed, image)

    def _add(self, placed: PlacedBoxes, image: Measured) -> None:
        self._per_image.append(len(placed.boxes))
        for box in placed.boxes:
            width, height = box.xmax - box.xmin, box.ymax - box.ymin
            self._widths.append(width * image.width)
            self._heights.append(height * image.height)
            self._shares.append(width * height)
            self._small += min(width, height) * SCALED_PX < _SMALL_PX

    def describe(self) -> Boxes:
        """Return what is known of the boxes."""
        counts = BoxCounts.total(self.by_split.values())
        return Boxes(
            boxes=len(self._widths),
            per_image=Spread.of(self._per_image),
            empty_images=counts.empty,
            width_px=_rounded(Spread.of(self._widths), 1),
            height_px=_rounded(Spread.of(self._heights), 1),
            share=_rounded(Spread.of(self._shares), 4),
            small=self._small,
            scaled_px=SCALED_PX,
            beyond=counts.cut,
            copies=counts.copies,
            unusable=self._unusable(counts),
        )

    @staticmethod
    def _unusable(counts: BoxCounts) -> list[Group]:
        return group_by_reason((path, _NUMBERED.sub("", reason)) for path, reason in counts.left_out)


def _rounded(spread: Spread | None, digits: int) -> Spread | None:
    if spread is None:
        return None
    return Spread(*(round(number, digits) for number in (spread.min, spread.median, spread.max)))
