"""Where on the stored image a box of an annotation is."""

from __future__ import annotations

import dataclasses
import struct

import pytest

from components.ingest.readings import Size
from components.ingest.truth import Boxes
from components.ingest.truth.counts import BoxCounts
from components.ingest.truth.placing import Box, PlacedBoxes
from components.ingest.truth.truth import WrongImageError


def place(boxes: Boxes, upright: Size, orientation: int) -> PlacedBoxes:
    return boxes.place(upright, orientation)


pytestmark = pytest.mark.stack_free


def sides(box: Box) -> tuple[float, ...]:
    return tuple(round(side, 6) for side in box.sides)


def on(upright: tuple[int, int], orientation: int = 1, size: tuple[float, float] | None = None) -> Box:
    """Return a box of 10, 20, 30, 60 pixels on an image."""
    placed = place(Boxes((Box("cat", 10, 20, 30, 60),), size), upright, orientation)
    assert (placed.left_out, placed.cut) == ([], 0)
    (box,) = placed.boxes
    return box


def test_pixels_become_shares() -> None:
    assert sides(on((100, 200))) == (0.1, 0.1, 0.3, 0.3)
    fraction = place(Boxes((Box("cat", 0.5, 0, 99.75, 200),), (100, 200)), (100, 200), 1)
    assert sides(fraction.boxes[0]) == (0.005, 0.0, 0.9975, 1.0)


def test_shares_are_those_that_a_record_can_hold() -> None:
    third = place(Boxes((Box("cat", 1, 1, 2, 2),)), (3, 3), 1).boxes[0].sides
    assert struct.unpack("<4f", struct.pack("<4f", *third)) == third
    # So thin that 32 bits cannot tell its sides apart.
    thin = place(Boxes((Box("cat", 50, 0, 50 + 1e-7, 10),)), (100, 100), 1)
    assert (thin.boxes, len(thin.left_out)) == ([], 1)


@pytest.mark.parametrize("size", [None, (0, 0), (100, 200), (0.0, 200), (float("nan"), 1)])
def test_no_size_is_that_of_the_image(size: tuple[float, float] | None) -> None:
    assert sides(on((100, 200), size=size)) == (0.1, 0.1, 0.3, 0.3)
    # Turned, and nothing says in which frame: as it is seen.
    told = size if size and size != (100, 200) else None
    assert sides(on((100, 200), 6, told)) == (0.1, 0.1, 0.3, 0.3)


def test_an_image_that_was_scaled_since() -> None:
    placed = place(Boxes((Box("cat", 10, 20, 30, 60),), (50, 100)), (1000, 2000), 1)
    assert (sides(placed.boxes[0]), placed.scaled) == ((0.2, 0.2, 0.6, 0.6), True)
    # 333.5 x 500 is 334 x 500 or 333 x 500.
    assert sides(on((334, 500), size=(667, 1000)))[0] == pytest.approx(10 / 667, abs=1e-6)
    assert sides(on((333, 500), size=(667, 1000)))[0] == pytest.approx(10 / 667, abs=1e-6)


@pytest.mark.parametrize("size", [(200, 100), (100, 100), (100, 300), (480, 640)])
def test_an_annotation_of_another_image(size: tuple[int, int]) -> None:
    with pytest.raises(WrongImageError, match=f"an image of {size[0]} x {size[1]} pixels, and it has 100 x"):
        on((100, 200), size=size)


# A file of 200 x 100 with a box at its upper left, of 0.1 .. 0.3 across and 0.2 .. 0.5 down.
@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (5, (0.2, 0.1, 0.5, 0.3)),  # mirrored at the diagonal
        (6, (0.5, 0.1, 0.8, 0.3)),  # a quarter clockwise: upper left goes to upper right
        (7, (0.5, 0.7, 0.8, 0.9)),
        (8, (0.2, 0.7, 0.5, 0.9)),  # a quarter against it: to lower left
    ],
)
def test_boxes_of_the_file_turn_with_the_image(orientation: int, expected: tuple[float, ...]) -> None:
    annotation = Boxes((Box("cat", 20, 20, 60, 50),), (200, 100))
    placed = place(annotation, (100, 200), orientation)
    assert sides(placed.boxes[0]) == expected
    assert not placed.scaled
    half = place(Boxes((Box("cat", 10, 10, 30, 25),), (100, 50)), (100, 200), orientation)
    assert (sides(half.boxes[0]), half.scaled) == (expected, True)


def test_the_turned_box_is_where_the_turned_pixels_are() -> None:
    import numpy as np
    from PIL import Image

    from components.ingest.canonical import _upright

    pixels = np.zeros((20, 40), np.uint8)
    pixels[4:10, 8:12] = 255
    for orientation in (5, 6, 7, 8):
        upright = np.asarray(_upright(Image.fromarray(pixels), orientation))
        rows, columns = np.nonzero(upright)
        seen = columns.min() / 20, rows.min() / 40, (columns.max() + 1) / 20, (rows.max() + 1) / 40
        placed = place(Boxes((Box("cat", 8, 4, 12, 10),), (40, 20)), (20, 40), orientation)
        assert sides(placed.boxes[0]) == pytest.approx(seen)


def test_nearly_square_images_are_told_apart_by_the_pixel() -> None:
    box = Box("cat", 0, 0, 50, 499)
    upright = place(Boxes((box,), (499, 500)), (499, 500), 6).boxes[0]
    assert sides(upright)[2] == pytest.approx(50 / 499, abs=1e-5)
    file = place(Boxes((box,), (500, 499)), (499, 500), 6).boxes[0]
    assert sides(file) == pytest.approx((0, 0, 1, 0.1))


def test_boxes_beyond_the_image_are_cut_and_what_is_empty_is_left_out() -> None:
    boxes = (
        Box("cat", -10, -10, 50, 50),
        Box("cat", 0, 0, 100, 200),  # all of it: nothing to cut
        Box("dog", 90, 190, 101, 400),
        Box("dog", 100, 0, 140, 50),  # begins where the image ends
        Box("dog", -5, 0, 0, 50),
        Box("dog", 10, 10, 10, 50),
        Box("dog", 10, 50, 20, 40),
        Box("dog", 30, 10, 20, 40),
    )
    placed = place(Boxes(boxes, (100, 200)), (100, 200), 1)
    assert [sides(box) for box in placed.boxes] == [(0, 0, 0.5, 0.25), (0, 0, 1, 1), (0.9, 0.95, 1, 1)]
    assert placed.cut == 2
    assert placed.left_out == [
        "box 4 of 8 (dog): nothing of it is on the image: xmin 100, ymin 0, xmax 140, ymax 50, of "
        "100 x 200 pixels",
        "box 5 of 8 (dog): nothing of it is on the image: xmin -5, ymin 0, xmax 0, ymax 50, of "
        "100 x 200 pixels",
        "box 6 of 8 (dog): empty: xmin and xmax are both 10",
        "box 7 of 8 (dog): in the wrong order: ymin 50 is above ymax 40",
        "box 8 of 8 (dog): in the wrong order: xmin 30 is above xmax 20",
    ]


def test_shares_are_kept_as_they_are() -> None:
    third = struct.unpack("<f", struct.pack("<f", 1 / 3))[0]
    annotation = Boxes((Box("cat", third, 0.25, 1.0, 0.5),), (640, 480), in_shares=True)
    assert place(annotation, (640, 480), 1).boxes[0].sides == (third, 0.25, 1.0, 0.5)
    assert place(annotation, (480, 640), 6).boxes[0].sides == pytest.approx((0.5, third, 0.75, 1.0))
    with pytest.raises(WrongImageError):
        place(annotation, (480, 640), 1)


def test_an_annotation_survives_the_index() -> None:
    annotation = Boxes((Box("Wölfe", 0.1, 2, 3.5, 4, difficult=True),), (3, 4))
    assert Boxes.from_text(annotation.to_text()) == annotation
    assert Boxes.from_text(Boxes().to_text()) == Boxes()


def test_a_box_that_repeats_another_one_is_dropped() -> None:
    cat, dog = Box("cat", 1, 2, 3, 4), Box("dog", 1, 2, 3, 4)
    crowd = dataclasses.replace(cat, difficult=True)
    annotation = Boxes((dog, cat, cat, Box("cat", 1, 2, 3, 5), crowd, dog, cat), (10, 10))
    # In their order; another class, another side and a crowd round an object are no copies.
    assert annotation.boxes == (dog, cat, Box("cat", 1, 2, 3, 5), crowd)
    assert annotation.copies == 3
    again = Boxes.from_text(annotation.to_text())
    assert again == annotation
    counts = BoxCounts()
    place(again, (10, 10), 1).count("1.jpg", counts)
    assert (counts.listed, counts.copies, counts.boxes) == (7, 3, {"dog": 1, "cat": 3})


@pytest.mark.parametrize(
    ("orientation", "annotated", "unknown"),
    [
        (1, None, False),
        (3, (40, 20), True),  # half a turn does not change the size
        (6, None, True),
        (6, (40, 20), False),
        (6, (20, 40), False),
        (6, (80, 40), False),
    ],
)
def test_what_tells_whether_exif_turns_boxes(
    orientation: int, annotated: tuple[int, int] | None, unknown: bool
) -> None:
    cat = Box("cat", 1, 2, 3, 4)
    assert place(Boxes((cat,), annotated), (40, 20), orientation).turn_unknown is unknown
    # Nothing is turned wrong where there is no box.
    assert not place(Boxes((), annotated), (40, 20), orientation).turn_unknown


def test_a_turned_square_does_not_tell() -> None:
    assert place(Boxes((Box("cat", 1, 2, 3, 4),), (20, 20)), (20, 20), 8).turn_unknown


@pytest.mark.parametrize(
    ("sides", "beyond", "fits"),
    [
        # On an image of 40 x 20; boxes of two pixels beyond it are dropped.
        ((30, 10, 42, 15), 0, {"swapped": 0}),
        ((30, 10, 42.5, 15), 1, {"swapped": 0}),
        # [20, 5, 30, 15] as corners, read as x, y, width, height.
        ((20, 5, 50, 20), 1, {"corners": 1, "swapped": 0}),
        # [30, 10, 10, 5] as lengths, read as corners.
        ((30, 10, 10, 5), 0, {"lengths": 1, "corners": 0}),
        # 5, 30, 15, 38 with x and y swapped is 30, 5, 38, 15.
        ((5, 30, 15, 38), 1, {"swapped": 1, "lengths": 0}),
    ],
)
def test_what_else_numbers_may_mean(
    sides: tuple[float, float, float, float], beyond: int, fits: dict[str, int]
) -> None:
    placed = place(Boxes((Box("cat", *sides),)), (40, 20), 1)
    assert placed.beyond == beyond
    assert {name: placed.fits.get(name, 0) for name in fits} == fits


def test_how_far_beyond_is_none_goes_with_the_image() -> None:
    box = Boxes((Box("cat", 0, 0, 1015, 10),), None)
    assert place(box, (1000, 1000), 1).beyond == 0
    assert place(box, (990, 1000), 1).beyond == 1


def test_counts_add_up() -> None:
    one, other = BoxCounts(), BoxCounts()
    cat, dog = Box("cat", 0, 0, 10, 10), Box("dog", 0, 0, 200, 10)
    place(Boxes((cat, Box("cat", 0, 0, 10, 11), dog)), (100, 100), 1).count("1.jpg", one)
    place(Boxes((cat, Box("cat", 5, 5, 5, 5))), (100, 100), 1).count("2.jpg", other)
    place(Boxes(), (100, 100), 1).count("3.jpg", other)
    total = BoxCounts.total([one, other])
    assert (total.images, total.boxes) == ({"cat": 2, "dog": 1}, {"cat": 3, "dog": 1})
    assert (total.most, total.empty, total.cut, total.scaled) == (3, 1, 1, 0)
    assert (total.listed, total.copies, total.beyond) == (5, 0, 1)
    assert total.left_out == [("2.jpg", "box 2 of 2 (cat): empty: xmin and xmax are both 5")]
