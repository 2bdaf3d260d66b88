"""Which copies of photos an ingest finds, and which images it joins though they are no copies.

    MIRANTE_TEST_DATA=../shared/data python benchmarks/copies.py [PHOTOS]

Copies are made of PHOTOS of each set, or of all. The table of docs/ingest.md ("Copies") has the figures.
"""

from __future__ import annotations

import functools
import gzip
import io
import os
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageEnhance, ImageOps

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("MIRANTE_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
DIGITS = 10_000
Pair = tuple[int, int]


def encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """Return a file of an image."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


jpeg = functools.partial(encode, image_format="JPEG", quality=90)


def scaled(
    image: Image.Image, factor: float, filter_: Image.Resampling = Image.Resampling.LANCZOS
) -> Image.Image:
    """Return an image at another size."""
    return image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), filter_)


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Return an image without this share of its width and height, half of it at each side."""
    x, y = round(image.width * share / 2), round(image.height * share / 2)
    return image.crop((x, y, image.width - x, image.height - y))


KINDS: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG of quality 30": lambda image: jpeg(image, quality=30),
    "JPEG of quality 10": lambda image: jpeg(image, quality=10),
    "PNG": lambda image: encode(image, "PNG", compress_level=1),
    "WebP of quality 50": lambda image: encode(image, "WEBP", quality=50, method=0),
    "GIF": lambda image: encode(image, "GIF"),
    "half the size": lambda image: jpeg(scaled(image, 0.5)),
    "a square of 224 px": lambda image: jpeg(image.resize((224, 224), Image.Resampling.BILINEAR)),
    "twice the size": lambda image: jpeg(scaled(image, 2)),
    "a third of the size by leaving pixels out": lambda image: jpeg(
        scaled(image, 1 / 3, Image.Resampling.NEAREST)
    ),
    "mirrored": lambda image: jpeg(ImageOps.mirror(image)),
    "mirrored at half the size": lambda image: jpeg(ImageOps.mirror(scaled(image, 0.5))),
    "turned by 2 degrees": lambda image: jpeg(image.rotate(2, Image.Resampling.BICUBIC)),
    "cropped by 2 %": lambda image: jpeg(cropped(image, 0.02)),
    "5 % brighter": lambda image: jpeg(ImageEnhance.Brightness(image).enhance(1.05)),
}


def find_pairs(contents: Sequence[bytes]) -> set[Pair]:
    """Return the pairs of images that an ingest takes for copies."""
    from components.ingest.canonical import canonical_bytes
    from components.ingest.looks import DECODED_PX, DETAIL_PX, find_candidates, is_alike, make_look

    previews = (canonical_bytes(content, preview_px=DECODED_PX).preview for content in contents)
    candidates = find_candidates(b"".join(make_look(one) for one in previews if one is not None))
    decode = functools.lru_cache(500)(lambda number: canonical_bytes(contents[number], preview_px=DETAIL_PX))
    return {
        (one, other)
        for one, other, mirrored in candidates
        if is_alike(decode(one), decode(other), mirrored=mirrored)
    }


def read_photos(folder: str) -> dict[str, bytes]:
    """Return the photos of a set, each content once."""
    paths = sorted((DATA / folder).rglob("*.jpg"))
    contents = {path.read_bytes(): path.name for path in paths}
    return {name: content for content, name in contents.items()}


def read_digits() -> Iterator[Image.Image]:
    """Yield test digits of MNIST."""
    with gzip.open(DATA / "mnist" / "t10k-images-idx3-ubyte.gz") as file:
        file.read(16)
        for _ in range(DIGITS):
            yield Image.frombytes("L", (28, 28), file.read(28 * 28))


def read_small_photos() -> list[bytes]:
    """Return images of CIFAR-10, each content once."""
    with zipfile.ZipFile(DATA / "cifar10" / "cifar10_png.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        return list(dict.fromkeys(map(archive.read, names)))


def main() -> None:
    """Measure and print both tables."""
    sys.path.insert(0, str(REPOSITORY))
    began = time.process_time()
    sets_of_photos = [read_photos(name) for name in ("cats_vs_dogs", "butterflies")]
    names = [name for photos in sets_of_photos for name in photos]
    everything = [content for photos in sets_of_photos for content in photos.values()]
    originals = []
    for photos in sets_of_photos:
        step = max(1, len(photos) // int(sys.argv[1])) if len(sys.argv) > 1 else 1
        originals += list(photos.values())[::step]
    known = find_pairs(originals)
    count = len(originals)
    print(f"{count} photos\n{'copy':44}{'found':>8}{'wrong pairs':>14}", flush=True)
    for kind, make in KINDS.items():
        copies = [make(Image.open(io.BytesIO(content)).convert("RGB")) for content in originals]
        pairs = find_pairs([*originals, *copies])
        right = {(number, number + count) for number in range(count)}
        # Copies of originals that are alike themselves are alike, too.
        wrong = {(one % count, other % count) for one, other in pairs - right}
        wrong = {(min(pair), max(pair)) for pair in wrong} - known
        print(f"{kind:44}{len(pairs & right) / count:8.1%}{len(wrong):14}", flush=True)
    digits = list(read_digits())
    sets = {
        "cats, dogs, butterflies": everything,
        "MNIST": [encode(digit, "PNG") for digit in digits],
        "MNIST at 224 px": [jpeg(digit.resize((224, 224))) for digit in digits],
        "CIFAR-10": read_small_photos(),
    }
    print(f"\n{'images as they are':28}{'images':>8}{'pairs':>8}")
    for name, contents in sets.items():
        pairs = find_pairs(contents)
        shown = (
            [f"{names[one]} = {names[other]}" for one, other in sorted(pairs)]
            if contents is everything
            else []
        )
        print(f"{name:28}{len(contents):8,}{len(pairs):8}  {', '.join(shown)}", flush=True)
    print(f"{time.process_time() - began:.0f} s of CPU")


if __name__ == "__main__":
    main()
