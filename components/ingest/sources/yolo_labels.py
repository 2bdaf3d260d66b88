"""A label file of YOLO: an object in every line, of one image.

    0 0.716797 0.395833 0.216406 0.147222            class, centre x and y, width and height
    1 0.1 0.1 0.5 0.1 0.5 0.4 0.1 0.4                class, corners of a polygon: x and y of each

Classes count from 0; the other numbers are shares of the image's width and height. The box of a polygon, and
of a turned box that is given by its corners, is the one round it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from components.ingest.sources.shapes import POLYGON, ShapeCounts, enclose, is_upright
from components.ingest.truth.placing import Box
from components.ingest.values import brief, number, whole

# A line of a box takes about 40 bytes, one of a polygon some hundreds: room for ten thousands on one image.
MAX_BYTES = 4 << 20
_LEAST_POLYGON = 6
_LARGEST_CLASS = 1_000_000


class LabelError(Exception):
    """An error in a label file, with its line."""


def read_labels(
    file: Path, names: Mapping[int, str] | None, shapes: ShapeCounts, *, has_key_points: bool
) -> Iterator[tuple[int, Box]]:
    """Yield the number of the class and the box of each object, in the order of the lines.

    Args:
        file: The label file.
        names: Classes by number; None to call them by their numbers.
        shapes: Counts the objects that are polygons.
        has_key_points: Whether key points, which are not read, follow each box.

    Raises:
        LabelError: It cannot be read, or a line is no object.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise LabelError(f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise LabelError(f"larger than {MAX_BYTES >> 20} MiB, which no list of one image's objects is")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise LabelError("expected UTF-8, got other bytes") from error
    for at, line in enumerate(lines, start=1):
        if fields := line.split():
            try:
                yield _object(fields, names, shapes, has_key_points=has_key_points)
            except ValueError as error:
                raise LabelError(f"line {at}: {error}") from error


def _object(
    fields: list[str], names: Mapping[int, str] | None, shapes: ShapeCounts, *, has_key_points: bool
) -> tuple[int, Box]:
    key = whole(fields[0])
    if names is not None and key not in names:
        raise ValueError(f"expected a class of {_format_names(names)}, got {brief(fields[0])}")
    if not 0 <= key <= _LARGEST_CLASS:
        raise ValueError(f"expected a class from 0 on, got {brief(fields[0])}")
    label = str(key) if names is None else names[key]
    numbers = [number(field) for field in fields[1 : 5 if has_key_points else None]]
    if len(numbers) == 4:
        x, y, width, height = numbers
        return key, Box(label, x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    if len(numbers) < _LEAST_POLYGON or len(numbers) % 2:
        raise ValueError(
            "expected a class and four numbers, or the corners of a polygon, got a line of "
            f"{len(fields)} fields"
        )
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    if not is_upright(points):
        shapes.note(POLYGON)
    return key, Box(label, *enclose(points))


def _format_names(names: Mapping[int, str]) -> str:
    keys = sorted(names)
    return f"{keys[0]} .. {keys[-1]}" if len(keys) > 1 else str(keys[0]) if keys else "none"
