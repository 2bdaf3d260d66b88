"""Tell boxes that reach beyond their images, and what else their numbers could mean.

Annotations do not say how they write a box, so a file that writes it in another way than its format asks for
gives boxes in wrong places, and many of them off the image. If all boxes fit once they are read in another
way, that way is the likely cause.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

Sides = tuple[float, float, float, float]
Size = tuple[float, float]

# What IngestConfig.box_units may be.
SHARES = "shares"
BOX_UNITS = ("pixels", SHARES)
# A box whose numbers are within 0 and this is not in pixels, and one with larger numbers than these is not in
# shares.
LARGEST_SHARE, LEAST_PIXELS = 1.02, 2.0
PIXELS_HINT = "are they pixels? `mirante ingest tfrecord DATA OUTPUT --box-units pixels` makes shares of them"
# Boxes often end a pixel or two beyond the edge, and that means nothing.
_TOLERANCE, _TOLERANCE_PX = 0.02, 2.0


@dataclasses.dataclass(frozen=True)
class Reading:
    """Another meaning of a box's numbers.

    Attributes:
        cause: What the file then does, as the end of a sentence that begins with "they seem to be".
        sides: Makes (xmin, ymin, xmax, ymax) of those that were read, and of the image's (width, height).
    """

    cause: str
    sides: Callable[[Sides, Size], Sides]


CORNERS, LENGTHS, SWAPPED, PIXELS, CENTRES, UPPER_LEFT = (
    "corners", "lengths", "swapped", "pixels", "centres", "upper_left",
)  # fmt: skip

READINGS: Mapping[str, Reading] = {
    # The first two undo what the reader did, or do what it did not.
    CORNERS: Reading(
        "[xmin, ymin, xmax, ymax] where [x, y, width, height] is expected; subtract x from the third number "
        "and y from the fourth",
        lambda box, _: (box[0], box[1], box[2] - box[0], box[3] - box[1]),
    ),
    LENGTHS: Reading(
        "x, y, width, height where xmin, ymin, xmax, ymax are expected; add x to the third number and y to "
        "the fourth",
        lambda box, _: (box[0], box[1], box[0] + box[2], box[1] + box[3]),
    ),
    SWAPPED: Reading(
        "written with x and y swapped; swap xmin with ymin and xmax with ymax",
        lambda box, _: (box[1], box[0], box[3], box[2]),
    ),
    PIXELS: Reading(
        "pixels where shares of the image are expected",
        lambda box, size: (box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1]),
    ),
    CENTRES: Reading(
        "xmin, ymin, xmax, ymax where x_center, y_center, width, height are expected",
        lambda box, _: ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]),
    ),
    UPPER_LEFT: Reading(
        "x, y, width, height from the upper left corner where the centre is expected; add half of the width "
        "and the height",
        lambda box, _: (
            (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, 1.5 * box[2] - 0.5 * box[0],
            1.5 * box[3] - 0.5 * box[1],
        ),
    ),
}  # fmt: skip


def reaches_beyond(sides: Sides, whole: Size, size_px: Size) -> bool:
    """Return whether a box reaches beyond the image by more than 2 % of the image's side, and 2 pixels.

    Args:
        sides: The box, in the unit of `whole`.
        whole: (width, height) of the image in that unit; (1, 1) for shares.
        size_px: The same in pixels.
    """
    xmin, ymin, xmax, ymax = sides
    across, down = (
        side * max(_TOLERANCE, _TOLERANCE_PX / px) for side, px in zip(whole, size_px, strict=True)
    )
    return (
        min(xmin, xmax) < -across
        or min(ymin, ymax) < -down
        or max(xmin, xmax) > whole[0] + across
        or max(ymin, ymax) > whole[1] + down
    )


def fitting(sides: Sides, whole: Size, size_px: Size) -> Iterator[str]:
    """Yield the names of READINGS by which a box would be on the image.

    Args:
        sides: The box as it was read, in the unit of `whole`.
        whole: (width, height) of the image in that unit; (1, 1) for shares.
        size_px: The same in pixels.
    """
    for name, reading in READINGS.items():
        box = reading.sides(sides, size_px)
        if box[0] < box[2] and box[1] < box[3] and not reaches_beyond(box, whole, size_px):
            yield name
