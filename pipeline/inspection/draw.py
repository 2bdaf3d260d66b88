"""Draws some of the images that were looked at: with their boxes, or a grid of each class."""

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from components.base.errors import UsageError
from components.ingest.item import shape_from
from components.ingest.truth.placing import PlacedBoxes
from components.ingest.whole import RejectedImage
from components.pictures.boxes import Box, colour_of, draw_boxes, file_names, save
from components.pictures.grid import draw_grid
from pipeline.inspection.facts import Group
from pipeline.inspection.look import Seen
from pipeline.inspection.measure import read_source, store

_MOST_IMAGES = 12
_MOST_CLASSES, _PER_CLASS = 50, 16
_TILE_PX = 160


def draw(seen: Seen, folder: Path, suspicious: Sequence[Group]) -> list[str]:
    """Draw some images into a folder, which is made if it is not there, and return the paths.

    Args:
        seen: The data.
        folder: Where to.
        suspicious: Images that get grids of their own.

    Raises:
        UsageError: The folder cannot be made, or a file in it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [str(path) for path in _draw_all(seen, folder, suspicious)]
    except OSError as error:
        raise UsageError(
            f"--draw {folder}: cannot be written: {error.strerror or error}; give another folder"
        ) from error


def _draw_all(seen: Seen, folder: Path, suspicious: Sequence[Group]) -> Iterator[Path]:
    names = seen.rehearsal.plan.class_names
    with_boxes = list(_images_with_boxes(seen))
    paths = file_names([path for path, _, _ in with_boxes], folder)
    for (_, image, boxes), path in zip(with_boxes, paths, strict=True):
        save(draw_boxes(image, boxes), path)
        yield path
    if not with_boxes:
        for number, name in enumerate(names[:_MOST_CLASSES]):
            shows = seen.rehearsal.index.truth.shows
            rows = _rows(seen, f"{shows} ORDER BY hash, id LIMIT ?", name, _PER_CLASS)
            if tiles := _tiles(rows, seen.config.bit_depth):
                yield _save_grid(tiles, folder / f"class-{number:02d}-{_plain(name)}.png")
    for group in suspicious:
        rows = [
            row
            for path in group.examples[:_PER_CLASS]
            for row in _rows(seen, "path = ? ORDER BY id LIMIT ?", path, 1)
        ]
        if tiles := _tiles(rows, seen.config.bit_depth):
            yield _save_grid(tiles, folder / f"suspicious-{_plain(group.what.partition(':')[0])}.png")


# path, file, offset, size, shape, truth, id
_Row = tuple[str, bytes, "int | None", int, "str | None", str, int]


def _rows(seen: Seen, where: str, *values: object) -> list[_Row]:
    query = f"SELECT path, file, offset, size, shape, truth, id FROM items WHERE rejected = 0 AND {where}"
    return list(seen.rehearsal.index.db.execute(query, values))


def _images_with_boxes(seen: Seen) -> Iterator[tuple[str, Image.Image, list[Box]]]:
    """Yield path, image and boxes: of each class an image that shows it, then any with boxes."""
    label_of = {name: label for label, name in enumerate(seen.rehearsal.plan.class_names, start=1)}
    wanted = set(label_of)
    chosen: list[tuple[_Row, PlacedBoxes]] = []
    left: list[tuple[_Row, PlacedBoxes]] = []
    for row in _rows(seen, "1 ORDER BY hash, id LIMIT ?", 100 * _MOST_IMAGES):
        measured = seen.measured.get(row[6])
        if measured is None:
            continue
        truth = seen.rehearsal.index.truth.from_text(row[5])
        placed = truth.place((measured.width, measured.height), measured.orientation)
        if not isinstance(placed, PlacedBoxes):
            return
        shown = {box.label for box in placed.boxes}
        (chosen if shown & wanted else left).append((row, placed))
        wanted -= shown
        if len(chosen) == _MOST_IMAGES:
            break
    for row, placed in [*chosen, *left][:_MOST_IMAGES]:
        if (image := _image(row, seen.config.bit_depth)) is not None:
            size = (image.width, image.height) * 2
            boxes = [
                Box(
                    tuple(side * px for side, px in zip(box.sides, size, strict=True)),  # type: ignore[arg-type]
                    box.label,
                    colour_of(label_of.get(box.label, 1)),
                )
                for box in placed.boxes
            ]
            yield row[0], image, boxes


def _image(row: _Row, bit_depth: str) -> Image.Image | None:
    _, file, offset, size, shape, _, _ = row
    try:
        stored = store(read_source(file, offset, size), shape_from(shape), bit_depth=bit_depth)
    except (RejectedImage, OSError):
        return None
    return Image.open(io.BytesIO(stored.encoded)).convert("RGB")


def _tiles(rows: Sequence[_Row], bit_depth: str) -> list[tuple[str, Image.Image]]:
    """Return name and image of each, on a square of one size."""
    images = [(row[0], image) for row in rows if (image := _image(row, bit_depth)) is not None]
    side = min(_TILE_PX, max((max(image.size) for _, image in images), default=1))
    tiles = []
    for path, image in images:
        image.thumbnail((side, side))
        square = Image.new("RGB", (side, side), "white")
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        tiles.append((path.rpartition("/")[2], square))
    return tiles


def _save_grid(tiles: Sequence[tuple[str, Image.Image]], path: Path) -> Path:
    grid = draw_grid(np.stack([np.asarray(image) for _, image in tiles]), [name for name, _ in tiles])
    save(Image.fromarray(grid), path)
    return path


def _plain(name: str) -> str:
    """Return a name that every file system takes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40] or "x"
