"""Boxes on images: where the lines and texts are, and which files they come to."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.pictures.boxes import Box, colour_of, draw_boxes, enlarge, file_names, save

pytestmark = pytest.mark.stack_free

ORANGE = colour_of(1)


def coloured(image: Image.Image, colour: tuple[int, int, int] = ORANGE) -> np.ndarray:
    """Return which pixels have exactly that colour: bool [height, width]."""
    return (np.asarray(image) == colour).all(axis=-1)


def extent(where: np.ndarray) -> tuple[int, int, int, int]:
    """First and last column and row (left, top, right, bottom) of what is true."""
    rows, columns = np.nonzero(where)
    return columns.min(), rows.min(), columns.max(), rows.max()


def test_a_box_is_drawn_where_it_is() -> None:
    picture = Image.new("RGB", (600, 400))
    drawn = draw_boxes(picture, [Box((100.0, 50.0, 300.0, 200.0), "", ORANGE)])
    assert drawn.size == (600, 400)
    assert extent(coloured(drawn)) == (100, 50, 300, 200)
    assert not coloured(drawn)[60:190, 110:290].any()  # a line, not a plane
    assert not coloured(picture).any()  # the image itself is left as it is


def test_lines_and_letters_grow_with_the_image() -> None:
    heights = []
    for side in (600, 3000):
        box = Box((side * 0.2, side * 0.4, side * 0.8, side * 0.8), "cat 0.98", ORANGE)
        drawn = coloured(draw_boxes(Image.new("RGB", (side, side)), [box]))
        _, top, right, bottom = extent(drawn)
        assert right <= 0.8 * side + 1
        assert bottom <= 0.8 * side + 1
        heights.append((0.4 * side - top) / side)  # of the text above the box
        line_px = int(drawn[side // 2, : side // 2].sum())
        assert line_px == max(2, round(side / 300))
    assert heights[0] > 12 / 600  # legible
    assert heights[1] == pytest.approx(heights[0], rel=0.35)


def test_a_tiny_image_is_enlarged_with_its_boxes() -> None:
    drawn = draw_boxes(Image.new("L", (32, 16)), [Box((8.0, 8.0, 16.0, 12.0), "", ORANGE)])
    assert drawn.mode == "RGB"
    assert drawn.size == (32 * 13, 16 * 13)  # 416, the first multiple from 400 on
    assert extent(coloured(drawn)) == (8 * 13, 8 * 13, 16 * 13, 12 * 13)
    assert enlarge(Image.new("RGB", (400, 10)))[1] == 1


@pytest.mark.parametrize(
    "corners", [(0, 0, 50, 50), (550, 0, 600, 40), (560, 380, 640, 450), (-20, -20, 700, 700)]
)
def test_a_text_never_leaves_the_image(corners: tuple[int, int, int, int]) -> None:
    text = Box(corners, "a cat, maybe", ORANGE)
    with_text = coloured(draw_boxes(Image.new("RGB", (600, 400)), [text]))
    without = coloured(draw_boxes(Image.new("RGB", (600, 400)), [Box(corners, "", ORANGE)]))
    left, top, right, bottom = extent(with_text & ~without)
    # As wide and high as where there is room, one more or less.
    free = Box((200.0, 200.0, 201.0, 201.0), "a cat, maybe", ORANGE)
    x0, y0, x1, y1 = extent(coloured(draw_boxes(Image.new("RGB", (600, 400)), [free])))
    assert right - left >= x1 - x0 - 8
    assert bottom - top >= (y1 - y0) - 8


def test_the_first_box_lies_on_top() -> None:
    boxes = [Box((10.0, 100.0, 300.0, 300.0), "same", colour_of(n)) for n in (1, 2)]
    drawn = draw_boxes(Image.new("RGB", (600, 400)), boxes)
    assert coloured(drawn, colour_of(1)).any()
    assert not coloured(drawn, colour_of(2)).any()


def test_corners_in_the_wrong_order_and_odd_letters_do_no_harm() -> None:
    draw_boxes(Image.new("RGB", (500, 500)), [Box((300.0, 300.0, 100.0, 100.0), "Kätzchen 猫", ORANGE)])


def test_names_do_not_collide() -> None:
    folder = Path("/drawn")
    images = ["a/cat.jpg", "b/cat.png", "b/CAT.jpg", "dog.jpg", "/drawn/dog.boxes.jpg"]
    names = [path.name for path in file_names(images, folder)]
    assert names == [
        "cat.boxes.jpg",
        "cat.boxes-2.jpg",
        "CAT.boxes-3.jpg",
        "dog.boxes-2.jpg",  # the first is one of the images
        "dog.boxes.boxes.jpg",
    ]
    # The same image twice gives two, and the same call the same names.
    assert len(set(file_names(["x.jpg", "x.jpg"], folder))) == 2
    assert file_names(images, folder) == file_names(images, folder)


def test_an_image_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.boxes.jpg"
    save(Image.new("RGB", (20, 10)), path)
    before = path.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        save(Image.new("RGB", (30, 10)), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.boxes.jpg"]
    with Image.open(path) as image:
        assert (image.format, image.size) == ("JPEG", (20, 10))
