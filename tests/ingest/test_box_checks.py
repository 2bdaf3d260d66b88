"""Checks of boxes that hold for every source: units, order of the numbers, copies, EXIF."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from components.base.errors import DataRefusedError, UsageError
from components.base.example import serialize_example
from components.base.tfrecord import frame_record
from components.ingest import IngestConfig, ingest
from components.ingest.sources import sources_for
from schemas import features
from tests.make.boxes import ingest_boxes, make_image, make_xml, read_warnings, write_files

pytestmark = [pytest.mark.stack_free, pytest.mark.usefixtures("inline_workers")]

Numbers = Sequence[float]
Size = tuple[float, float] | None
# x, y, width, height in pixels of images of 40 x 20.
PLACES = [(x, y, 10, 8) for x in (2, 10, 18, 26) for y in (1, 5, 9)]
SIZE = (40, 20)


def corners(x: float, y: float, width: float, height: float) -> Numbers:
    return x, y, x + width, y + height


def lengths(x: float, y: float, width: float, height: float) -> Numbers:
    return x, y, width, height


def centres(x: float, y: float, width: float, height: float) -> Numbers:
    return x + width / 2, y + height / 2, width, height


# Each writes the annotations of images 0.png, 1.png, ..., with the numbers of the boxes of each as they are.


def write_coco(root: Path, boxes: list[list[Numbers]], size: Size) -> None:
    wide, high = size or (0, 0)
    listed = {
        "images": [
            {"id": n, "file_name": f"{n}.png", "width": wide, "height": high} for n in range(len(boxes))
        ],
        "annotations": [
            {"id": 1, "image_id": n, "category_id": 1, "bbox": list(box)}
            for n, one in enumerate(boxes)
            for box in one
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    write_files(root, {"list.json": json.dumps(listed)})


def write_voc(root: Path, boxes: list[list[Numbers]], size: Size) -> None:
    for n, one in enumerate(boxes):
        xml = make_xml(*((*box, "cat") for box in one), size=size)  # type: ignore[arg-type]
        write_files(root, {f"{n}.xml": xml})


def write_csv(root: Path, boxes: list[list[Numbers]], size: Size) -> None:
    wide, high = size or (0, 0)
    rows = [
        f"{n}.png,{wide},{high},cat,{','.join(map(str, box))}\n" for n, one in enumerate(boxes) for box in one
    ]
    head = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    write_files(root, {"list.csv": head + "".join(rows)})


def write_cvat(root: Path, boxes: list[list[Numbers]], size: Size) -> None:
    sized = f'width="{size[0]}" height="{size[1]}"' if size else ""
    images = [
        f'<image id="{n}" name="{n}.png" {sized}>'
        + "".join('<box label="cat" xtl="{}" ytl="{}" xbr="{}" ybr="{}"/>'.format(*box) for box in one)
        + "</image>"
        for n, one in enumerate(boxes)
    ]
    write_files(root, {"annotations.xml": f"<annotations>{''.join(images)}</annotations>"})


def write_labelme(root: Path, boxes: list[list[Numbers]], size: Size) -> None:
    for n, one in enumerate(boxes):
        shapes = [
            {"label": "cat", "points": [box[:2], box[2:]], "shape_type": "rectangle"}
            for box in map(list, one)
        ]
        sized = {"imageWidth": size[0], "imageHeight": size[1]} if size else {}
        write_files(root, {f"{n}.json": json.dumps({"imagePath": f"{n}.png", "shapes": shapes, **sized})})


def write_label_studio(root: Path, boxes: list[list[Numbers]], size: Size) -> None:
    sized = {"original_width": size[0], "original_height": size[1]} if size else {}
    tasks = []
    for n, one in enumerate(boxes):
        values = [dict(zip(("x", "y", "width", "height"), box, strict=True)) for box in one]
        results = [{"value": {**value, "rectanglelabels": ["cat"]}, **sized} for value in values]
        tasks.append({"id": n, "data": {"image": f"{n}.png"}, "annotations": [{"result": results}]})
    write_files(root, {"list.json": json.dumps(tasks)})


def write_yolo(root: Path, boxes: list[list[Numbers]], size: Size) -> None:
    for n, one in enumerate(boxes):
        write_files(root, {f"{n}.txt": "".join(f"0 {' '.join(map(str, box))}\n" for box in one)})
    write_files(root, {"obj.names": "cat\n"})


def write_tfrecord(root: Path, boxes: list[list[Numbers]], size: Size) -> None:
    records = []
    for n, one in enumerate(boxes):
        columns = ([float(number) for number in column] for column in zip(*one, strict=True))
        sides = dict(zip(features.BOX_SIDES, columns, strict=True))
        values: dict[str, Any] = {
            "image/encoded": (root / f"{n}.png").read_bytes(), "image/filename": f"{n}.png".encode(),
            "image/object/class/text": [b"cat"] * len(one), **sides,
        }  # fmt: skip
        (root / f"{n}.png").unlink()
        records.append(frame_record(serialize_example(values)))
    write_files(root, {"x.tfrecord": b"".join(records)})


Write = Callable[[Path, list[list[Numbers]], Size], None]
# How each source writes a box: its function, which numbers, and of what unit.
SOURCES: dict[str, tuple[Write, Callable[..., Numbers], str]] = {
    "coco": (write_coco, lengths, "pixels"),
    "voc": (write_voc, corners, "pixels"),
    "csv": (write_csv, corners, "pixels"),
    "cvat": (write_cvat, corners, "pixels"),
    "labelme": (write_labelme, corners, "pixels"),
    "label_studio": (write_label_studio, lengths, "percent"),
    "yolo": (write_yolo, centres, "shares"),
    "tfrecord": (write_tfrecord, corners, "shares"),
}
ALL = sorted(SOURCES)
OF_PIXELS = [name for name in ALL if SOURCES[name][2] == "pixels"]
UNITS = {"pixels": (1, 1), "percent": (100 / 40, 100 / 20), "shares": (1 / 40, 1 / 20)}


def scaled(box: Numbers, unit: str) -> Numbers:
    """Return a box's numbers in another unit; they are in pixels of 40 x 20."""
    across, down = UNITS[unit]
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def write(root: Path, source: str, boxes: list[list[Numbers]], size: Size = SIZE) -> Path:
    write_files(root, {f"{n}.png": make_image(n) for n in range(len(boxes))})
    SOURCES[source][0](root, boxes, size)
    return root


def right(source: str, places: Sequence[Sequence[float]] = PLACES) -> list[Numbers]:
    _, form, unit = SOURCES[source]
    return [scaled(form(*place), unit) for place in places]


def refused(source: str, root: Path) -> str:
    with pytest.raises((UsageError, DataRefusedError)) as error:
        ingest(source, root, root.parent / "out", IngestConfig(workers=1))
    assert not list((root.parent / "out").glob("*-of-*"))
    return str(error.value)


def test_every_source_of_boxes_is_there() -> None:
    assert sorted(sources_for("detection")) == ALL


@pytest.mark.parametrize("source", ALL)
def test_boxes_that_are_right_stay_as_they_are_and_copies_are_dropped(source: str, tmp_path: Path) -> None:
    # Each box twice, the first one three times.
    boxes = [[box, box] for box in right(source)]
    boxes[0] += boxes[0][:1]
    root = write(tmp_path / "in", source, boxes)
    found = ingest_boxes(source, root, tmp_path / "out", max_reject_share=0.0)
    assert found["0.png"].boxes == [("cat", 0.05, 0.05, 0.3, 0.45)]
    assert [len(one.boxes) for one in found.values()] == [1] * len(PLACES)
    said = (
        "13 boxes of 25 repeated another box of the same image, with the same class and the same sides: each"
    )
    assert said in str(read_warnings(tmp_path / "out"))


@pytest.mark.parametrize("source", OF_PIXELS)
def test_shares_in_place_of_pixels(source: str, tmp_path: Path) -> None:
    form = SOURCES[source][1]
    root = write(tmp_path / "in", source, [[scaled(form(*place), "shares")] for place in PLACES])
    said = "in pixels, got 12 of 12 boxes with no number outside of 0 .. 1: they seem to be shares"
    assert said in refused(source, root)
    found = ingest_boxes(source, root, tmp_path / "out", box_units="shares")
    assert found["0.png"].boxes == [("cat", 0.05, 0.05, 0.3, 0.45)]


@pytest.mark.parametrize("source", ["label_studio", "tfrecord", "yolo"])
def test_pixels_in_place_of_shares(source: str, tmp_path: Path) -> None:
    form = SOURCES[source][1]
    # Of an image of 40 x 20 most pixels are percentages too, so the annotations give 100 times its size.
    times = 100 if source == "label_studio" else 1
    root = write(
        tmp_path / "in",
        source,
        [[[times * number for number in form(*place)]] for place in PLACES],
        (40 * times, 20 * times),
    )
    assert "12 of 12 boxes with numbers above 2: they seem to be pixels; --box-units pixels" in refused(
        source, root
    )
    found = ingest_boxes(source, root, tmp_path / "out", box_units="pixels")
    assert found["0.png"].boxes == [("cat", 0.05, 0.05, 0.3, 0.45)]


@pytest.mark.parametrize("source", OF_PIXELS)
def test_x_and_y_swapped(source: str, tmp_path: Path) -> None:
    form = SOURCES[source][1]
    swapped = [[form(y, x, height, width)] for x, y, width, height in PLACES]
    # The boxes at x 18 and 26 are below the image of 20 pixels, those at 10 end there.
    assert (
        "6 of 12 boxes reach far beyond their images: they seem to be written with x and y swapped; swap xmin"
        in refused(source, write(tmp_path / "in", source, swapped))
    )


@pytest.mark.parametrize("source", ["coco", "label_studio"])
def test_corners_in_place_of_lengths(source: str, tmp_path: Path) -> None:
    boxes = [[scaled(corners(*place), SOURCES[source][2])] for place in PLACES]
    assert "8 of 12 boxes reach far beyond their images: they seem to be [xmin, ymin, xmax, ymax] where" in (
        refused(source, write(tmp_path / "in", source, boxes))
    )


@pytest.mark.parametrize("source", ["csv", "cvat", "voc"])
def test_lengths_in_place_of_corners(source: str, tmp_path: Path) -> None:
    boxes = [[lengths(*place)] for place in PLACES]
    assert "they seem to be x, y, width, height where xmin, ymin, xmax, ymax are expected" in (
        refused(source, write(tmp_path / "in", source, boxes)).replace("All boxes seem", "they seem")
    )


def rotated(seed: int) -> bytes:
    """Return a file of 40 x 20 pixels that EXIF turns by a quarter clockwise."""
    image = Image.open(io.BytesIO(make_image(seed)))
    exif = image.getexif()
    exif[0x0112] = 6
    out = io.BytesIO()
    image.save(out, "PNG", exif=exif)
    return out.getvalue()


WITH_SIZES = [name for name in ALL if name not in ("yolo", "tfrecord")]


@pytest.mark.parametrize(
    ("source", "size", "is_open"),
    # As the image is seen; or not told, which leaves open whether its boxes have to be turned.
    [*((name, (20, 40), False) for name in WITH_SIZES), *((name, None, True) for name in ALL)],
)
def test_images_that_exif_rotates(source: str, size: Size, is_open: bool, tmp_path: Path) -> None:
    _, form, unit = SOURCES[source]
    across, down = {"pixels": (1.0, 1.0), "percent": (5.0, 2.5), "shares": (1 / 20, 1 / 40)}[unit]
    # Of 20 x 40: the box of 5 x 20 pixels from (5, 10) on.
    numbers = form(5 * across, 10 * down, 5 * across, 20 * down)
    root = write_files(tmp_path / "in", {"0.png": rotated(0)})
    SOURCES[source][0](root, [[numbers]], size)
    found = ingest_boxes(source, root, tmp_path / "out")["0.png"]
    assert found.boxes == [("cat", 0.25, 0.25, 0.5, 0.75)]
    said = "1 image with boxes turned by EXIF, and nothing says whether the boxes are of the image as it is"
    assert (said in str(read_warnings(tmp_path / "out"))) is is_open


@pytest.mark.parametrize("source", WITH_SIZES)
def test_boxes_of_the_file_before_exif_rotates_it(source: str, tmp_path: Path) -> None:
    _, form, unit = SOURCES[source]
    # From (4, 4) to (12, 10) of 40 x 20: a quarter clockwise it is from (10, 4) to (16, 12) of 20 x 40.
    root = write_files(tmp_path / "in", {"0.png": rotated(0)})
    SOURCES[source][0](root, [[scaled(form(4, 4, 8, 6), unit)]], (40, 20))
    assert ingest_boxes(source, root, tmp_path / "out")["0.png"].boxes == [("cat", 0.5, 0.1, 0.8, 0.3)]
    assert "EXIF" not in str(read_warnings(tmp_path / "out"))
