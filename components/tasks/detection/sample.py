"""Images whose boxes are kept for the report: all of them, or as many as fit, chosen by their names.

The digests of the names put the images in an order, and the first ones are kept. So the choice depends
neither on the order in which images come nor on how they are shared among workers. Imports no TensorFlow.
"""

from __future__ import annotations

import hashlib

from components.tasks.detection.coco_eval import Detections

# What is kept at most: boxes, and as much as this for each image besides. Some 100 MB.
MOST_WEIGHT = 1_000_000
_WEIGHT_OF_IMAGE = 10


class Sample:
    """Images with their boxes, as many as fit.

    Args:
        most: The most weight that is kept; see `weigh`.
    """

    def __init__(self, most: int = MOST_WEIGHT):
        self._most = most
        self._images: list[Detections] = []
        self._weight = 0
        # The first place that did not fit, here or at another worker: no later image takes the room.
        self._cut: tuple[bytes, bytes] | None = None

    def add(self, image: Detections) -> None:
        """Add an image, unless it comes after one that did not fit."""
        if self._cut is not None and _place(image) >= self._cut:
            return
        self._images.append(image)
        self._weight += weigh(image)
        if self._weight > 2 * self._most:
            self.compact()

    def merge(self, other: Sample) -> None:
        """Add the images of another sample."""
        self._images += other._images
        self._weight += other._weight
        if other._cut is not None:
            self._cut_at(other._cut)
        if self._cut is not None:
            self._drop_cut()
        if self._weight > 2 * self._most:
            self.compact()

    def compact(self) -> None:
        """Leave out the images that do not fit."""
        if self._weight <= self._most:
            return
        self._images.sort(key=_place)
        weight = 0
        for image in self._images:
            weight += weigh(image)
            if weight > self._most:
                self._cut_at(_place(image))
                break
        self._drop_cut()

    def _cut_at(self, place: tuple[bytes, bytes]) -> None:
        self._cut = place if self._cut is None else min(self._cut, place)

    def _drop_cut(self) -> None:
        cut = self._cut
        self._images = [image for image in self._images if cut is None or _place(image) < cut]
        self._weight = sum(map(weigh, self._images))

    def list_images(self) -> list[Detections]:
        """Return the images in the order of their names."""
        self.compact()
        return sorted(self._images, key=lambda image: image.name)


def weigh(image: Detections) -> int:
    """Return the room that an image takes, in boxes."""
    return _WEIGHT_OF_IMAGE + len(image.boxes) + len(image.found_boxes)


def _place(image: Detections) -> tuple[bytes, bytes]:
    return hashlib.sha256(image.name.encode()).digest(), image.boxes.tobytes()
