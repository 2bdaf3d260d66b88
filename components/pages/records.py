"""Reads the first records of a split for a page: how many each class has, and their images."""

import dataclasses
import gzip
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, cast

from components.base import files
from components.base.tfrecord import iterate_records
from components.pages.markup import Html, render_part
from components.pages.page import Page
from components.pages.protocol import Record, task_page
from components.pages.tables import MOST_CLASSES
from components.pictures.thumbnails import shrink
from schemas import features

_MOST_THUMBNAILS, _MOST_PER_CLASS = 96, 8
# Twice the size at which they are shown, for high-resolution screens.
_THUMBNAIL_PX = 112
# A page costs only seconds, however large the data is.
_READ_SECS = 0.7
# The shards of a split that are read, in turn.
_MOST_SHARDS = 16


@dataclasses.dataclass
class Seen:
    """The records of a split that were read.

    Attributes:
        counts: Records by class name; one record may count for several classes.
        images: The first records with an image by class name.
        examples: The number of records.
        whole: Whether that is the whole split.
    """

    counts: Counter[str]
    images: dict[str, list[Record]]
    examples: int = 0
    whole: bool = True


def read_shard(path: str) -> Iterator[bytes]:
    """Yield the records of a TFRecord file, on a disk or in a bucket, gzipped or not."""
    with files.open_binary(path) as raw:
        file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.endswith(".gz") else raw
        yield from iterate_records(file, path)


def _read_in_turn(shards: Sequence[str]) -> Iterator[bytes]:
    """Yield records of several shards in turn, so that the first records come from all of them."""
    readers = [read_shard(path) for path in shards[:_MOST_SHARDS]]
    while readers:
        for reader in list(readers):
            record = next(reader, None)
            if record is None:
                readers.remove(reader)
            else:
                yield record


def read_split(page: Page, shards: Sequence[str], enough: int | None = None) -> Seen:
    """Read a split until its end, until the time is up, or until `enough` images are gathered."""
    from components.base.example import parse_example

    task, most = task_page(page), most_per_class(page)
    seen = Seen(Counter(), {}, whole=len(shards) <= _MOST_SHARDS)
    until = time.monotonic() + _READ_SECS
    gathered = 0
    for serialized in _read_in_turn(shards):
        record = parse_example(serialized)
        seen.examples += 1
        for name in task.read_classes(record):
            seen.counts[name] += 1
            images = seen.images.setdefault(name, [])
            if record.get(features.ENCODED) and len(images) < most:
                images.append(record)
                gathered += 1
        if time.monotonic() > until or (enough is not None and gathered >= enough):
            seen.whole = False
            break
    return seen


def make_thumbnail(page: Page, encoded: bytes, alt: str = "", *, may_be_cut: bool = False) -> Html:
    """Return a small image, or nothing where the page has no room left.

    Args:
        page: The page.
        encoded: The image file.
        alt: What it shows, for readers that cannot see it; empty where the text next to it says so.
        may_be_cut: Whether to show the part that is there of a file that is cut off.

    Raises:
        OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError: It cannot be decoded.
    """
    content, kind, is_small = shrink(encoded, _THUMBNAIL_PX, may_be_cut=may_be_cut)
    return embed_thumbnail(page, content, kind, "small" if is_small else "", alt)


def embed_thumbnail(page: Page, content: bytes, kind: str, style: str, alt: str = "") -> Html:
    """Return a small image file as markup with a class of the stylesheet; nothing without room for it."""
    uri = page.embed_image(content, kind)
    return render_part("thumbnail", uri, alt, style) if uri else Html("")


def show_images(page: Page, images: Mapping[str, Sequence[Record]]) -> None:
    """Add a row of images for each class, and for images without a class."""
    known = set(page.class_names)
    names = [*page.class_names, *sorted(name for name in images if name not in known)]
    rows = [
        (shown, Html("").join(_try_thumbnail(page, record, shown) for record in images[name]))
        for name in [name for name in names if images.get(name)][:MOST_CLASSES]
        for shown in [page.translate(name)]
    ]
    if not rows:
        page.add_note("No images were found.")
        return
    page.add(render_part("rows_of_images", rows))
    there = len([name for name in images if name in known])
    if min(there, MOST_CLASSES) < len(page.class_names):
        page.add_note(f"Images of {min(there, MOST_CLASSES):,} of {len(page.class_names):,} classes.")


def _try_thumbnail(page: Page, record: Record, alt: str) -> Html:
    from PIL import Image

    try:
        return task_page(page).make_thumbnail(page, record, alt)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Html("")  # DataGate names such images and boxes


def most_per_class(page: Page) -> int:
    """Return how many images of a class are shown."""
    return max(1, min(_MOST_PER_CLASS, _MOST_THUMBNAILS // max(1, len(page.class_names))))
