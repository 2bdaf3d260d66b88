"""The boxes round shapes that are not upright boxes."""

from __future__ import annotations

import pytest

from components.ingest.sources.shapes import (
    enclose,
    enclose_ellipse,
    enclose_rotated,
    is_upright,
    rotate,
    rotation_of,
)

pytestmark = pytest.mark.stack_free


def test_the_box_round_points() -> None:
    assert enclose([(3, 1), (2, 5), (4, 4)]) == (2, 1, 4, 5)


def test_corners_of_an_upright_box() -> None:
    corners = [(1.0, 2.0), (5.0, 2.0), (5.0, 4.0), (1.0, 4.0)]
    assert is_upright(corners)
    assert is_upright(corners[::-1])
    assert not is_upright(corners[:3])
    assert not is_upright([*corners[:3], (1.0, 4.5)])
    assert not is_upright([(3.0, 2.0), (5.0, 3.0), (3.0, 4.0), (1.0, 3.0)])


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        (0, (0, 0, 6, 8)),
        (180, (0, 0, 6, 8)),
        (90, (-1, 1, 7, 7)),
        (-90, (-1, 1, 7, 7)),
        # A square of side 1 on its corner is the square root of 2 wide: 6 x 8 is 14 / 1.41421 both ways.
        (45, (3 - 4.949747, 4 - 4.949747, 3 + 4.949747, 4 + 4.949747)),
    ],
)
def test_the_box_round_a_rotated_box(degrees: float, expected: tuple[float, ...]) -> None:
    assert enclose_rotated((0, 0, 6, 8), degrees) == pytest.approx(expected)


def test_the_box_round_a_rotated_box_is_that_round_its_corners() -> None:
    for degrees in (17, 123, 200, 340):
        corners = [rotate(corner, (3, 4), degrees) for corner in ((0, 0), (6, 0), (6, 8), (0, 8))]
        assert enclose_rotated((0, 0, 6, 8), degrees) == pytest.approx(enclose(corners))


def test_rotation_is_clockwise_on_the_image() -> None:
    # From right of the centre to below it, where y points down.
    assert rotate((11, 20), (10, 20), 90) == pytest.approx((10, 21))


def test_the_box_round_an_ellipse() -> None:
    assert enclose_ellipse((10, 20), (3, 4)) == (7, 16, 13, 24)
    assert enclose_ellipse((10, 20), (3, 4), 90) == pytest.approx((6, 17, 14, 23))
    # A circle is as wide however it is rotated.
    assert enclose_ellipse((10, 20), (3, 3), 33) == pytest.approx((7, 17, 13, 23))


@pytest.mark.parametrize(
    ("value", "degrees"),
    [(30, 30), ("390.0", 30), (360, 0), (None, 0), ("left", 0), (float("nan"), 0), ([], 0)],
)
def test_rotations_that_are_none(value: object, degrees: float) -> None:
    assert rotation_of(value) == degrees
