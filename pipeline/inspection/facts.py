"""What `mirante inspect` finds out, apart from how it is shown: `--json` is these classes as they are.

docs/inspect.md explains the keys. A key is only added, never renamed or removed.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

# Examples of one thing that are kept.
MOST_EXAMPLES = 20


@dataclasses.dataclass(frozen=True)
class Reading:
    """A way to read the data.

    Attributes:
        source: Name of the source.
        why: By what the data look like its own.
        option: The option of `mirante inspect` that says so.
    """

    source: str
    why: str
    option: str


@dataclasses.dataclass(frozen=True)
class Spread:
    """The smallest, the middle and the largest of some numbers."""

    min: float
    median: float
    max: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread | None:
        """Return the spread of these numbers; None without any."""
        if not numbers:
            return None
        return cls(min(numbers), statistics.median(numbers), max(numbers))


@dataclasses.dataclass(frozen=True)
class ClassCount:
    """A class.

    Attributes:
        name: Its name.
        images: Images of it, for boxes images that show it.
        by_split: The same by split.
        boxes: Boxes of it; None for data without boxes.
    """

    name: str
    images: int
    by_split: dict[str, int]
    boxes: int | None = None


@dataclasses.dataclass(frozen=True)
class Group:
    """Some images with one thing in common.

    Attributes:
        what: What that is, such as the reason of a reject.
        count: How many they are.
        examples: The first of them, sorted by path.
    """

    what: str
    count: int
    examples: list[str]

    @classmethod
    def of(cls, what: str, paths: Sequence[str]) -> Group:
        """Return the group of these paths."""
        return cls(what, len(paths), sorted(paths)[:MOST_EXAMPLES])


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of the upright images, in pixels.

    Attributes:
        images: How many were looked at.
        width, height: In pixels.
        aspect: Width divided by height.
        formats: Images by format.
        channels: Images by channels, "1" or "3", as they are stored.
    """

    images: int
    width: Spread
    height: Spread
    aspect: Spread
    formats: dict[str, int]
    channels: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Copies:
    """Images that are there several times.

    Attributes:
        identical: Images that repeat another one, byte for byte.
        across_splits: Different images of which a copy is in another split.
        with_different_truth: Different images of which a copy has another class.
        alike: Images of other bytes that look like another one.
        examples: Paths of equal or nearly equal images, by what they have in common.
    """

    identical: int
    across_splits: int
    with_different_truth: int
    alike: int
    examples: dict[str, list[list[str]]]


@dataclasses.dataclass(frozen=True)
class Boxes:
    """The boxes of the data.

    Attributes:
        boxes: All that a model would learn.
        per_image: Boxes per image.
        empty_images: Images without a box.
        width_px, height_px: Sides of a box.
        share: Its area as a share of the image's.
        small: Boxes with a side below 8 px once their image is scaled to `scaled_px`.
        scaled_px: See `small`.
        beyond: Boxes that reach beyond their images and are cut there.
        copies: Boxes that repeat another one of their image.
        unusable: Boxes that cannot be used, by reason: outside of their image, empty, in the wrong order.
    """

    boxes: int
    per_image: Spread | None
    empty_images: int
    width_px: Spread | None
    height_px: Spread | None
    share: Spread | None
    small: int
    scaled_px: int
    beyond: int
    copies: int
    unusable: list[Group]


@dataclasses.dataclass(frozen=True)
class Labels:
    """The classes of images that may have several.

    Attributes:
        labels: Classes of all images.
        cardinality: Classes of an image on average.
        images: Images by their number of classes, as text.
    """

    labels: int
    cardinality: float
    images: dict[str, int]


def describe_labels(images: Mapping[int, int]) -> Labels | None:
    """Return what is known of the classes of images, from the images by their number of classes."""
    if not images:
        return None
    labels = sum(number * count for number, count in images.items())
    mean = round(labels / sum(images.values()), 3)
    return Labels(labels, mean, {str(number): count for number, count in images.items()})


@dataclasses.dataclass(frozen=True)
class Doubt:
    """An image whose label a model disagrees with.

    Attributes:
        image: Its path.
        label: Its class in the data.
        predicted: The class that the model gives.
        score: The model's probability of it.
    """

    image: str
    label: str
    predicted: str
    score: float


@dataclasses.dataclass(frozen=True)
class Doubts:
    """The answers of a model about the data.

    Attributes:
        model: Where it is.
        asked: Images that it was asked about.
        agreed: Those of which it gives the class that they have in the data.
        min_score: The lowest score of a doubt.
        images: The doubts, the surest model first.
        unknown_classes: Classes of the data that the model has not learned; their images do not count.
    """

    model: str
    asked: int
    agreed: int
    min_score: float
    images: list[Doubt]
    unknown_classes: list[str]


@dataclasses.dataclass(frozen=True)
class Facts:
    """Everything that is known about some data.

    Attributes:
        data: The path, as it was given.
        ingested: Whether it is a folder that `mirante ingest` wrote.
        source: How it is read; the source tfrecord for ingested data.
        other_sources: Other ways that fit.
        task: The kind of answer that a model of them gives.
        images: Images that can be used.
        classes: In the order of their labels.
        imbalance: Images of the largest class divided by those of the smallest; None for fewer than two.
        splits: Images by split.
        splits_brought: Splits that the data have themselves; the others are carved out of train.
        sizes: None if no size is known.
        copies: Images that are there several times.
        rejects: Inputs that cannot be used, by reason.
        left_out: Files that are not images, by reason.
        suspicious: Images to look at: blank, dark, tiny, of an odd aspect.
        looked_at: Images whose brightness was looked at, for `suspicious`.
        boxes: None for data without boxes.
        labels: None for data with one class per image, and with boxes.
        doubts: None if no model was asked.
        warnings: The sentences that an ingest would warn with.
        refused: Why an ingest or a run would refuse the data as they are; empty if they would not.
        drawn: Paths of the images that were drawn.
        command: The command to run next.
        seconds: How long all of this took.
    """

    data: str
    ingested: bool
    source: Reading
    other_sources: list[Reading]
    task: str
    images: int
    classes: list[ClassCount]
    imbalance: float | None
    splits: dict[str, int]
    splits_brought: list[str]
    sizes: Sizes | None
    copies: Copies
    rejects: list[Group]
    left_out: list[Group]
    suspicious: list[Group]
    looked_at: int
    boxes: Boxes | None
    labels: Labels | None
    doubts: Doubts | None
    warnings: list[str]
    refused: list[str]
    drawn: list[str]
    command: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON has them."""
        return dataclasses.asdict(self)
