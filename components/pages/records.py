"""Records that are looked into for a page: how many there are of each class, and what they show."""

from __future__ import annotations

import dataclasses
import gzip
import io
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, cast

from components.base import files
from components.pages.page import Html, Page, table
from schemas import features

# Of a page that a person reads.
MOST_CLASSES = 60
_MOST_THUMBS, _MOST_OF_A_CLASS = 96, 8
# Twice the size at which they are shown, for screens of many pixels; those with boxes are shown larger.
_THUMB_PX, _BOXED_PX = 112, 192
# A page is to cost seconds, however large the data.
_LOOK_SECS = 0.7
# Of a split's shards those that are looked at, in turn.
_MOST_SHARDS = 16
# Where a record tells no class, and of detection where nothing is on the image.
_NO_CLASS, _NOTHING = "(no class)", "(nothing)"


@dataclasses.dataclass(frozen=True)
class Shown:
    """An image file, and of detection its boxes: corners in shares of the image, and the label."""

    encoded: bytes
    boxes: Sequence[tuple[Sequence[float], int]] | None = None


@dataclasses.dataclass
class Seen:
    """What was seen of a split.

    Attributes:
        counts: Examples by class name; of detection one may count for several.
        images: By class name, the first ones.
        examples: All of them.
        whole: Whether that is the whole split.
        has_boxes: Whether it is of detection.
    """

    counts: Counter[str]
    images: dict[str, list[Shown]]
    examples: int = 0
    whole: bool = True
    has_boxes: bool = False


def _records_of(path: str) -> Iterator[bytes]:
    from components.base.tfrecord import records_in

    with files.open_binary(path) as raw:
        file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.endswith(".gz") else raw
        yield from records_in(file, path)


def _in_turn(shards: Sequence[str]) -> Iterator[bytes]:
    """Records of several shards in turn, so that the first ones come from all of them."""
    readers = [_records_of(path) for path in shards[:_MOST_SHARDS]]
    while readers:
        for reader in list(readers):
            record = next(reader, None)
            if record is None:
                readers.remove(reader)
            else:
                yield record


def look(shards: Sequence[str], most_of_a_class: int, enough: int | None = None) -> Seen:
    """Reads a split until its end, until the time is up, or until `enough` images are gathered."""
    from components.base.example import parse_example

    seen = Seen(Counter(), {}, whole=len(shards) <= _MOST_SHARDS)
    until = time.monotonic() + _LOOK_SECS
    gathered = 0
    for record in _in_turn(shards):
        values = parse_example(record)
        names, boxes = _told(values)
        seen.examples += 1
        seen.has_boxes |= boxes is not None
        encoded = values.get(features.ENCODED)
        for name in names:
            seen.counts[name] += 1
            of_class = seen.images.setdefault(name, [])
            if encoded and len(of_class) < most_of_a_class:
                of_class.append(Shown(encoded[0], boxes))
                gathered += 1
        if time.monotonic() > until or (enough is not None and gathered >= enough):
            seen.whole = False
            break
    return seen


def _told(values: Mapping[str, list[Any]]) -> tuple[list[str], list[tuple[Sequence[float], int]] | None]:
    """The classes that a record is of, and of detection its boxes."""
    if features.BOX_TEXT not in values:
        name = b"".join(values.get(features.LABEL_TEXT, [])[:1]).decode("utf-8", "replace")
        return [name or _NO_CLASS], None
    names = sorted({text.decode("utf-8", "replace") for text in values[features.BOX_TEXT]})
    corners = zip(*(values.get(side, []) for side in features.BOX_SIDES), strict=False)
    return names or [_NOTHING], list(zip(corners, values.get(features.BOX_LABEL, []), strict=False))


def _thumbnail(page: Page, shown: Shown) -> Html:
    """A small picture; nothing where it cannot be decoded, or the page has no room left."""
    from PIL import Image

    if shown.boxes is not None:
        return _boxed_thumbnail(page, shown)
    try:
        with Image.open(io.BytesIO(shown.encoded)) as image:
            small = max(image.size) <= _THUMB_PX
            content, kind = shown.encoded, "png"
            if not small or image.format != "PNG":
                image.draft("RGB", (_THUMB_PX, _THUMB_PX))
                reduced = image.convert("RGB")
                reduced.thumbnail((_THUMB_PX, _THUMB_PX))
                content, kind = _jpeg(reduced), "jpeg"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Html("")  # DataGate names such images
    uri = page.data_uri(content, kind)
    pixelated = ' class="small"' if small else ""
    return Html(f'<img{pixelated} src="{uri}" alt="">' if uri else "")


def _boxed_thumbnail(page: Page, shown: Shown) -> Html:
    from PIL import Image, ImageDraw

    from components.pictures.boxes import colour_of

    try:
        with Image.open(io.BytesIO(shown.encoded)) as image:
            image.draft("RGB", (_BOXED_PX, _BOXED_PX))
            reduced = image.convert("RGB")
            scale = _BOXED_PX / max(reduced.size)
            reduced = reduced.resize([max(1, round(side * scale)) for side in reduced.size])
        pen = ImageDraw.Draw(reduced)
        for (xmin, ymin, xmax, ymax), label in shown.boxes or []:
            corners = [
                xmin * reduced.width,
                ymin * reduced.height,
                xmax * reduced.width,
                ymax * reduced.height,
            ]
            pen.rectangle(corners, outline=colour_of(label), width=3)
        content = _jpeg(reduced)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Html("")  # DataGate names such images and boxes
    uri = page.data_uri(content, "jpeg")
    return Html(f'<img class="boxed" src="{uri}" alt="">' if uri else "")


def _jpeg(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def show_images(page: Page, images: Mapping[str, Sequence[Shown]], class_names: Sequence[str]) -> None:
    """A row for each class, and one for what is of none."""
    known = set(class_names)
    names = [*class_names, *sorted(name for name in images if name not in known)]
    rows = [
        [name, Html("".join(_thumbnail(page, shown) for shown in images[name]))]
        for name in [name for name in names if images.get(name)][:MOST_CLASSES]
    ]
    if not rows:
        page.note("No images were found.")
        return
    page.add(table(["", ""], rows, style="thumbs"))
    there = len([name for name in images if name in known])
    if min(there, MOST_CLASSES) < len(class_names):
        page.note(f"Images of {min(there, MOST_CLASSES):,} of {len(class_names):,} classes.")


def of_a_class(class_names: Sequence[str]) -> int:
    """How many images of a class are shown."""
    return max(1, min(_MOST_OF_A_CLASS, _MOST_THUMBS // max(1, len(class_names))))
